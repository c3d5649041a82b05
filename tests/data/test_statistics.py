import json
import os
from dataclasses import dataclass, field

import numpy as np
import pytest

from minorkey.data.records import evenly_spread, read_records
from minorkey.data.sample import Sample
from minorkey.data.statistics import (
    class_counts,
    class_frequencies,
    class_prior,
    count_images,
    rare_class_probabilities,
)
from minorkey.errors import DataError
from minorkey.labels import label_space

SPACE = label_space("street7")


@dataclass
class NoiseReader:
    """Random labels, the same at every reading; counts how often it is read."""

    count: int = 12
    seed: int = 0
    name: str = "noise:train"
    domain: str = "noise"
    notes: tuple[str, ...] = ()
    broken: tuple[int, ...] = ()
    unlabelled: tuple[int, ...] = ()
    reads: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return self.count

    def key(self, index: int) -> str:
        return f"{index:02d}"

    def __getitem__(self, index: int) -> Sample:
        self.reads.append(index)
        if index in self.broken:
            raise DataError(f"{index:02d}.png: broken image")
        labels = np.random.default_rng([self.seed, index]).choice([0, 1, 3, 255], (6, 8 + index)).astype(np.uint8)
        image = np.zeros((*labels.shape, 3), np.uint8)
        return Sample(image, self.domain, self.key(index), None if index in self.unlabelled else labels)


def expected(reader: NoiseReader) -> np.ndarray:
    samples = [reader[index] for index in range(len(reader))]
    return np.array([[(s.labels == k).sum() for k in range(len(SPACE))] for s in samples if s.labels is not None])


@pytest.mark.parametrize("workers", [0, 2])
def test_counts_against_numpy(workers):
    reader = NoiseReader(unlabelled=(4,))
    counted = class_counts(reader, SPACE, workers=workers)
    np.testing.assert_array_equal(counted.counts, expected(reader))
    assert counted.keys == tuple(reader.key(index) for index in range(12) if index != 4)


def test_records_tell_size_and_ignored_pixels():
    reader = NoiseReader(count=3)
    records = list(read_records(reader, SPACE))
    assert [record.size for record in records] == [(8, 6), (9, 6), (10, 6)]
    assert [record.ignored for record in records] == [int((reader[i].labels == 255).sum()) for i in range(3)]


def test_a_problem_stops_the_counting():
    with pytest.raises(DataError, match=r"^07\.png: broken image$"):
        class_counts(NoiseReader(broken=(7,)), SPACE)


def test_cache_is_read_in_place_of_the_files(tmp_path):
    first = class_counts(NoiseReader(), SPACE, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    reader = NoiseReader()
    again = class_counts(reader, SPACE, cache=tmp_path)
    np.testing.assert_array_equal(again.counts, first.counts)
    assert len(reader.reads) == 8  # the probes
    assert json.loads(file.read_text())["records"][3]["key"] == "03"


def test_cache_folder_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MINORKEY_CACHE", str(tmp_path / "cache"))
    class_counts(NoiseReader(), SPACE)
    assert len(os.listdir(tmp_path / "cache")) == 1


@pytest.mark.parametrize("change", [{"seed": 1}, {"count": 11}, {"domain": "other"}, {"name": "noise:val"}])
def test_another_data_set_has_another_cache(change, tmp_path):
    class_counts(NoiseReader(), SPACE, cache=tmp_path)
    other = NoiseReader(**change)
    np.testing.assert_array_equal(class_counts(other, SPACE, cache=tmp_path).counts, expected(NoiseReader(**change)))
    assert len(list(tmp_path.iterdir())) == 2


def test_another_label_space_has_another_cache(tmp_path):
    class_counts(NoiseReader(), SPACE, cache=tmp_path)
    assert class_counts(NoiseReader(), label_space("cityscapes19"), cache=tmp_path).counts.shape == (12, 19)


def test_problems_are_not_cached(tmp_path):
    probed, broken = evenly_spread(12, 8), 1
    assert broken not in probed
    faulty = list(read_records(NoiseReader(broken=(broken,)), SPACE, cache=tmp_path))
    assert [record.problem for record in faulty if record.problem] == ["01.png: broken image"]
    assert not any(record.problem for record in read_records(NoiseReader(), SPACE, cache=tmp_path))


def test_a_part_fills_the_cache_and_damage_is_harmless(tmp_path):
    list(read_records(NoiseReader(), SPACE, indices=[0, 5], cache=tmp_path))
    (file,) = tmp_path.iterdir()
    assert len(json.loads(file.read_text())["records"]) == 2
    list(read_records(NoiseReader(), SPACE, indices=[5, 6], cache=tmp_path))
    assert [row["key"] for row in json.loads(file.read_text())["records"]] == ["00", "05", "06"]
    file.write_text(file.read_text()[:50])
    np.testing.assert_array_equal(class_counts(NoiseReader(), SPACE, cache=tmp_path).counts, expected(NoiseReader()))


def test_evenly_spread():
    assert evenly_spread(10, 4) == [0, 3, 6, 9]
    assert evenly_spread(3, 9) == [0, 1, 2]
    assert evenly_spread(0, 5) == []
    assert evenly_spread(9, 1) == [0]


def test_frequencies():
    np.testing.assert_allclose(class_frequencies(np.array([[3, 0, 1], [1, 0, 3]])), [0.5, 0, 0.5])
    np.testing.assert_array_equal(class_frequencies(np.zeros((0, 3), np.int64)), [0, 0, 0])


def test_images_of_several_data_sets_are_counted_in_their_order(tmp_path):
    readers = [NoiseReader(unlabelled=(4,)), NoiseReader(count=3, seed=1, name="other")]
    first, second = count_images(readers, SPACE, cache=tmp_path)
    np.testing.assert_array_equal(np.delete(first, 4, axis=0), expected(readers[0]))
    np.testing.assert_array_equal(first[4], np.zeros(len(SPACE)))
    np.testing.assert_array_equal(second, expected(readers[1]))
    assert len(os.listdir(tmp_path)) == 2


def test_prior_mixes_the_data_sets_as_the_batches_do():
    large, small = np.array([[300, 100], [0, 0], [100, 300]]), np.array([[0, 10]])
    np.testing.assert_allclose(class_prior([large, small]), [3 / 8, 5 / 8])  # 3 images of halves, and 1
    np.testing.assert_allclose(class_prior([large, small], [1, 3]), [1 / 8, 7 / 8])
    np.testing.assert_allclose(class_prior([large, np.zeros((9, 2))]), [0.5, 0.5])
    np.testing.assert_array_equal(class_prior([np.zeros((2, 2))]), [0, 0])


def test_rare_classes_are_sampled_more_often():
    frequencies = np.array([0.5, 0.3, 0.15, 0.05])
    exponentials = np.exp((1 - frequencies) / 0.1)
    np.testing.assert_allclose(rare_class_probabilities(frequencies, 0.1), exponentials / exponentials.sum())
    sharp = rare_class_probabilities(frequencies, 1e-4)  # would overflow as the formula is written
    np.testing.assert_allclose(sharp, [0, 0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rare_class_probabilities(frequencies, 1e6), [0.25] * 4, atol=1e-6)


def test_a_class_that_never_occurs_cannot_be_sampled():
    chances = rare_class_probabilities(np.array([0.9, 0.1, 0.0]))
    assert chances[2] == 0
    assert chances.sum() == pytest.approx(1)
    with pytest.raises(DataError, match="no class occurs"):
        rare_class_probabilities(np.zeros(3))
