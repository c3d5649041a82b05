from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minorkey.data.readers import open_datasets
from minorkey.errors import ConfigError, DataError
from minorkey.labels import label_space

STREET7 = label_space("street7")


def open_source(root: Path):
    return open_datasets(str(root), role="source", label_space=STREET7)[0]


def test_samples_are_read_and_mapped(write_dataset):
    root = write_dataset(keys=("b", "town/a"))
    reader = open_source(root)
    assert (len(reader), reader.name, reader.domain) == (2, f"{root}:train", "mine")
    assert [reader.key(0), reader.key(1)] == ["b", "town/a"]
    sample = reader[1]
    raw = np.asarray(Image.open(root / "labels" / "train" / "town" / "a.png"))
    assert np.array_equal(sample.image, np.asarray(Image.open(root / "images" / "train" / "town" / "a.png")))
    assert np.array_equal(sample.labels, np.select([raw == 0, raw == 1], [0, 5], 255))
    assert (sample.domain, sample.key) == ("mine", "town/a")


def test_painted_labels(write_dataset):
    root = write_dataset(keys=("a",))
    (root / "dataset.yaml").write_text("name: painted\ncolours: {car: [0, 0, 142], road: [128, 64, 128]}\n")
    rgb = np.array([[[128, 64, 128], [0, 0, 142]]] * 8, np.uint8).repeat(6, axis=1)
    Image.fromarray(rgb).save(root / "labels" / "train" / "a.png")
    sample = open_source(root)[0]
    assert sample.domain == "painted"
    assert sample.labels[0].tolist() == [0] * 6 + [5] * 6


def test_folder_problems_are_found_when_opened(write_dataset, tmp_path):
    root = write_dataset(keys=("a", "b", "c"))
    with pytest.raises(DataError, match=r"mine: unknown split 'val'.* Known: train"):
        open_datasets(f"{root}:val", role="source", label_space=STREET7)
    (root / "labels" / "train" / "a.png").unlink()
    (root / "labels" / "train" / "c.png").unlink()
    with pytest.raises(
        DataError, match=r"image 'a' and 1 more of split 'train' without a label; .*labels/train/a\.png"
    ):
        open_source(root)


def test_label_without_image_is_left_out_and_said(write_dataset):
    root = write_dataset()
    (root / "images" / "train" / "b.png").unlink()
    reader = open_source(root)
    assert [reader.key(i) for i in range(len(reader))] == ["a"]
    assert reader.notes == ("label 'b' of split 'train' is left out: no image",)


def test_two_images_of_one_name(write_dataset):
    root = write_dataset()
    (root / "images" / "train" / "b.jpg").touch()
    with pytest.raises(DataError, match=r"images/train/b\.(jpg|png) and images/train/b\.(jpg|png) share the name 'b'"):
        open_source(root)


def test_empty_split(write_dataset):
    root = write_dataset(keys=("a",))
    (root / "images" / "train" / "a.png").unlink()
    with pytest.raises(
        DataError, match=r"mine holds annotations of split 'train', but no images; expected images/train/\*\.\*$"
    ):
        open_source(root)
    (root / "labels" / "train" / "a.png").unlink()
    with pytest.raises(DataError, match=r"mine holds no images of split 'train'; expected images/train/\*\.\*$"):
        open_source(root)


def test_content_problems_are_found_when_read(write_dataset):
    root = write_dataset(keys=("size", "unnamed", "broken", "colour"))
    labels = root / "labels" / "train"
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(labels / "size.png")
    Image.fromarray(np.full((8, 12), 3, np.uint8)).save(labels / "unnamed.png")
    Image.fromarray(np.full((8, 12, 3), (1, 0, 0), np.uint8)).save(labels / "colour.png")
    image = root / "images" / "train" / "broken.png"
    image.write_bytes(image.read_bytes()[:150])
    reader = open_source(root)
    messages = {
        "size": r"labels/train/size\.png is 5x4 but its image is 12x8 \(width x height\)",
        "unnamed": r"unnamed\.png: no map names id 3 \(96 pixels\)",
        "broken": r"images/train/broken\.png: broken image \(.*\)",
        "colour": r"colour\.png: label image has mode RGB",
    }
    for index in range(len(reader)):
        with pytest.raises(DataError, match=messages[reader.key(index)]) as caught:
            reader[index]
        assert "\n" not in str(caught.value)


def test_names_of_a_user(tmp_path, write_dataset):
    root = write_dataset(keys=("a",))
    for domain in ("dusk", "dawn"):
        for kind, name in (("images", "rgb"), ("labels", "ids")):
            folder = root / "drive" / domain / "v1"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"7_{name}.png").write_bytes((root / kind / "train" / "a.png").read_bytes())
            (folder.parent / "v2").mkdir(exist_ok=True)
            (folder.parent / "v2" / "8_rgb.png").write_bytes((root / kind / "train" / "a.png").read_bytes())
    (root / "dataset.yaml").write_text(
        "name: drive\nlegend: cityscapes-train\nimages: 'drive/{domain}/{split}/{key}_rgb.png'\n"
        "labels: 'drive/{domain}/{split}/{key}_ids.png'\nsplits: {val: v1, test: v2}\nunlabelled: [test]\n"
        "domains: [dusk, dawn]\n"
    )
    readers = open_datasets(str(root), role="unseen", label_space=STREET7)
    assert [reader.name for reader in readers] == ["drive-dusk:val", "drive-dawn:val"]
    assert (readers[1][0].domain, readers[1][0].key) == ("drive-dawn", "7")
    assert open_datasets(f"{root}:test", role="unseen", label_space=STREET7)[0][0].labels is None


def test_class_without_a_place(write_dataset):
    root = write_dataset()
    (root / "dataset.yaml").write_text("ids: {0: road, 1: camel, 255: ignore}\n")
    with pytest.raises(ConfigError, match=r"'street7' has no place for 'camel': .*`ignores` in dataset\.yaml"):
        open_source(root)
    (root / "dataset.yaml").write_text("ids: {0: road, 1: camel, 255: ignore}\nignores: [camel]\n")
    assert set(np.unique(open_source(root)[0].labels)) == {0, 255}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id: {0: road}", r"unknown key 'id'; did you mean 'ids'"),
        ("name: x", r"give either `ids` \(id: class name\) or `colours`"),
        ("ids: {zero: road}", r"ids\.zero.*valid integer"),
        ("layout: voc\nids: {0: road}", r"unknown key 'layout'"),
        ("legend: cityscape", r"unknown legend 'cityscape'; did you mean 'cityscapes'"),
        ("ids: {0: road}\nimages: 'a/{kee}.png'", r"'a/\{kee\}\.png' has a field \{kee\}; the fields are \{split\}"),
        ("ids: {0: road}\nimages: 'a/*.png'", r"'a/\*\.png' has no field \{key\}"),
        ("ids: {0: road}\ndomains: [a]", r"`domains` and a field \{domain\} in `images` go together"),
        ("ids: {0: road}\nencoding: colours", r"`encoding: colours` and a map `colours` go together"),
    ],
)
def test_wrong_dataset_yaml(write_dataset, text, message):
    root = write_dataset()
    (root / "dataset.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"dataset\.yaml: .*{message}") as caught:
        open_source(root)
    assert "\n" not in str(caught.value)


SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
EXPECTED = {"airsim": {"train": 400, "val": 42}, "camvid": {"train": 184, "val": 51}}


@pytest.mark.parametrize("name", EXPECTED)
def test_real_data(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"the real data set {name} is not beside this checkout")
    for split, count in EXPECTED[name].items():
        reader = open_datasets(f"{name}:{split}", role="unseen", label_space=STREET7, data_root=SHARED)[0]
        assert len(reader) == count
        sample = reader[count // 2]
        assert sample.labels.shape == sample.image.shape[:2]
        assert set(np.unique(sample.labels)) <= {*range(7), 255}
        assert {0, 3, 4} <= set(np.unique(sample.labels))  # road, vegetation and sky
        sky, road = (sample.image[sample.labels == i].mean() for i in (4, 0))
        assert sky > road
