from pathlib import Path

import numpy as np
import pytest

from minorkey.data.corruptions import CORRUPTIONS, Corruption, robustness_domains, split_corruption
from minorkey.data.readers import CorruptedReader, open_datasets
from minorkey.data.readers.world import WorldOptions, open_world
from minorkey.data.sample import Sample
from minorkey.errors import ConfigError
from minorkey.labels import label_space


class Folder:
    """A reader of one sample whose key differs from its index."""

    name = "camvid:val"
    domain = "camvid"
    notes = ("a note",)

    def __len__(self) -> int:
        return 1

    def key(self, index: int) -> str:
        return "town/0001"

    def __getitem__(self, index: int) -> Sample:
        image = np.random.default_rng(index).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        return Sample(image, self.domain, self.key(index), labels=np.arange(600, dtype=np.uint16).reshape(20, 30))


def test_names_follow_the_clean_reader() -> None:
    reader = CorruptedReader(Folder(), "night")
    assert reader.name == "camvid:val+night@3"
    assert reader.domain == "camvid+night@3"
    assert reader.notes == ("a note",)
    assert reader[0].domain == "camvid+night@3"
    assert (len(reader), reader.key(0), reader[0].key) == (1, "town/0001", "town/0001")


def test_only_the_image_changes() -> None:
    clean, corrupted = Folder()[0], CorruptedReader(Folder(), "fog@5")[0]
    assert not np.array_equal(corrupted.image, clean.image)
    np.testing.assert_array_equal(corrupted.labels, clean.labels)


def test_the_key_decides_the_draw() -> None:
    sample = CorruptedReader(Folder(), "snow@2")[0]
    np.testing.assert_array_equal(sample.image, Corruption("snow", 2).apply(Folder()[0].image, "town/0001"))


def test_a_domain_of_the_world_can_be_corrupted() -> None:
    options = WorldOptions(eval_count=2, size=(64, 32))
    clean = open_world("clear", "unseen", options, label_space("cityscapes19"))
    reader = CorruptedReader(clean, "fog@2")
    assert (reader.name, reader.domain) == ("world:clear+fog@2", "clear+fog@2")
    first, before = reader[1], clean[1]
    assert first.key == before.key == reader.key(1)
    for field in ("labels", "depth", "boxes", "box_classes"):
        np.testing.assert_array_equal(getattr(first, field), getattr(before, field))
    np.testing.assert_array_equal(reader[1].image, first.image)


def test_boxes_of_a_corrupted_domain_are_those_of_the_clean_one() -> None:
    options = WorldOptions(eval_count=1, size=(64, 32))
    clean = open_world("clear", "unseen", options, label_space("street7"), "boxes")[0]
    corrupted = CorruptedReader(open_world("clear", "unseen", options, label_space("street7"), "boxes"), "rain@4")[0]
    assert len(clean.boxes) > 0
    for field in ("boxes", "box_classes", "crowd"):
        np.testing.assert_array_equal(getattr(corrupted, field), getattr(clean, field))


def test_corruptions_can_be_stacked() -> None:
    reader = CorruptedReader(CorruptedReader(Folder(), "rain@1"), "night@2")
    assert reader.domain == "camvid+rain@1+night@2"
    once = Corruption("rain", 1).apply(Folder()[0].image, "town/0001")
    np.testing.assert_array_equal(reader[0].image, Corruption("night", 2).apply(once, "town/0001"))


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("camvid:val+night@3", ("camvid:val", "night@3")),
        ("camvid+night", ("camvid", "night@3")),
        ("world:clear+fog@2", ("world:clear", "fog@2")),
        ("hf:org/name:test+jpeg@5", ("hf:org/name:test", "jpeg@5")),
        ("camvid:val", ("camvid:val", None)),
        ("camvid+rain@1+night@2", ("camvid", "rain@1+night@2")),
        ("world:clear+rain+night", ("world:clear", "rain@3+night@3")),
        ("camvid:val+mine.looks:dark@2+fog@1", ("camvid:val", "mine.looks:dark@2+fog@1")),
        ("my+data:val", ("my+data:val", None)),
        ("my+data/street", ("my+data/street", None)),
        (r"C:\my+data\street", (r"C:\my+data\street", None)),
        ("my+data:val+snow@1", ("my+data:val", "snow@1")),
    ],
)
def test_a_data_set_is_parted_from_its_corruption(spec: str, parts: tuple[str, str | None]) -> None:
    assert split_corruption(spec) == parts


def test_several_corruptions_come_one_after_the_other() -> None:
    (reader,) = open_datasets("world:clear+rain@2+night@4", role="unseen", label_space=label_space("cityscapes19"))
    (clean,) = open_datasets("world:clear", role="unseen", label_space=label_space("cityscapes19"))
    assert reader.domain == "clear+rain@2+night@4"
    key = clean.key(1)
    expected = Corruption("night", 4).apply(Corruption("rain", 2).apply(clean[1].image, key), key)
    assert np.array_equal(reader[1].image, expected)
    assert reader[1].domain == reader.domain
    with pytest.raises(ConfigError, match="did you mean 'rain'"):
        open_datasets("world:clear+night@4+rainn@2", role="unseen", label_space=label_space("cityscapes19"))


def test_an_existing_path_with_a_plus_stays_whole(tmp_path: Path) -> None:
    folder = tmp_path / "day+night"
    assert split_corruption(str(folder)) == (str(tmp_path / "day"), "night@3")
    folder.mkdir()
    assert split_corruption(str(folder)) == (str(folder), None)
    assert split_corruption(f"{folder}+rain@2") == (str(folder), "rain@2")


def test_text_and_back() -> None:
    assert str(Corruption.parse("night@5")) == "night@5"
    assert Corruption.parse("night") == Corruption("night", 3)


def test_an_unknown_corruption_names_the_closest() -> None:
    with pytest.raises(ConfigError, match=r"unknown corruption 'nigth'; did you mean 'night'\? Known: brightness, "):
        Corruption.parse("nigth@2")


@pytest.mark.parametrize("severity", ["0", "6", "-1", "2.5", "strong", "", "²"])
def test_a_wrong_severity_says_which_are_right(severity: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Corruption.parse(f"fog@{severity}")
    assert str(caught.value) == (
        f"severity '{severity}' of 'fog'; expected 1 (mild) to 5 (strong), e.g. fog@3; "
        "the data set without a corruption is its clean form"
    )


def test_the_constructor_checks_too() -> None:
    with pytest.raises(ConfigError, match="severity '0' of 'fog'"):
        Corruption("fog", 0)
    with pytest.raises(ConfigError, match="did you mean 'fog'"):
        CorruptedReader(Folder(), "fogg@1")


def test_the_whole_robustness_table_in_one_call() -> None:
    domains = robustness_domains("camvid:val", None)
    assert len(domains) == len(set(domains)) == 5 * len(CORRUPTIONS)
    assert all(split_corruption(domain)[0] == "camvid:val" for domain in domains)
    assert robustness_domains("world:clear", ["fog", "jpeg"], [2, 4]) == [
        "world:clear+fog@2", "world:clear+fog@4", "world:clear+jpeg@2", "world:clear+jpeg@4",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="severity '7' of 'fog'"):
        robustness_domains("camvid", ["fog"], [7])
