import io
import pickle

import numpy as np
import pytest
from PIL import Image

from minorkey.config import resolve
from minorkey.data.readers import open_datasets
from minorkey.data.readers.hf import HuggingFaceReader, image_bytes
from minorkey.errors import ConfigError, DataError
from minorkey.labels import label_space
from minorkey.runs.from_sources import with_classes

datasets = pytest.importorskip("datasets", reason="the package `datasets` is not installed")

IDS = np.array([[0, 1, 2, 255], [13, 13, 10, 8]], np.uint8)


def png(array: np.ndarray) -> dict:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


def rows(count: int, label: str = "label", dtype: type = np.uint8):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (2, 4, 3), dtype=np.uint8) for _ in range(count)]
    content = {"image": [png(picture) for picture in pictures], label: [png(IDS.astype(dtype))] * count,
               "title": ["x"] * count}  # fmt: skip
    features = datasets.Features(
        {"image": datasets.Image(), label: datasets.Image(), "title": datasets.Value("string")}
    )
    return datasets.Dataset.from_dict(content, features=features), pictures


def open_hub(text: str, role: str = "unseen"):
    return open_datasets(f"hf:{text}", role=role, label_space=label_space("cityscapes19"))[0]


@pytest.fixture
def saved(tmp_path):
    train, pictures = rows(3)
    folder = tmp_path / "streets"
    datasets.DatasetDict({"train": train, "validation": rows(1)[0]}).save_to_disk(folder)
    return folder, pictures


def test_saved_to_disk(saved):
    folder, pictures = saved
    reader = open_hub(f"{folder}:train?legend=cityscapes-train")
    assert (reader.name, reader.domain, len(reader), reader.notes) == (f"hf:{folder}:train", "streets", 3, ())
    sample = reader[2]
    assert (sample.domain, sample.key, reader.key(2)) == ("streets", "000002", "000002")
    assert np.array_equal(sample.image, pictures[2])
    assert np.array_equal(sample.labels, IDS)
    assert np.array_equal(pickle.loads(pickle.dumps(reader))[2].image, pictures[2])


def test_its_classes_are_those_of_the_run_unless_named(saved):
    folder, _ = saved
    config = with_classes(resolve(None, {"source": f"hf:{folder}?legend=cityscapes-train"}))
    assert config.label_space == "cityscapes19"
    (folder / "dataset.yaml").write_text("colours: {soil: [0, 0, 0], void: [9, 9, 9], road: [1, 1, 1]}\n")
    space = label_space(with_classes(resolve(None, {"source": f"hf:{folder}"})).label_space)
    assert (space.classes, space.colours.tolist()) == (("soil", "road"), [[0, 0, 0], [1, 1, 1]])


def test_rows_without_an_image(tmp_path):
    content = {"image": [None, {"bytes": None, "path": str(tmp_path / "gone.png")}]}
    rows = datasets.Dataset.from_dict(content, features=datasets.Features({"image": datasets.Image()}))
    reader = HuggingFaceReader(rows, "image", None, name="hf:frames", domain="frames")
    with pytest.raises(DataError, match=r"row 0, image: there is no image"):
        reader[0]
    with pytest.raises(DataError, match=r"row 1, image: cannot read .*gone.png: No such file"):
        reader[1]
    with pytest.raises(DataError, match=r"row 2: there is no image"):
        image_bytes({"bytes": None, "path": None}, "row 2", str(tmp_path))


def test_rows_name_files_of_their_own_data_set_only(tmp_path):
    folder = tmp_path / "frames"
    for file in (folder / "own.png", tmp_path / "secret.png"):
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(file)
    names = [folder / "own.png", tmp_path / "secret.png", folder / ".." / "secret.png"]
    content = {"image": [{"bytes": None, "path": str(name)} for name in names]}
    rows = datasets.Dataset.from_dict(content, features=datasets.Features({"image": datasets.Image()}))
    reader = HuggingFaceReader(rows, "image", None, name="hf:frames", domain="frames", path=str(folder))
    assert reader[0].image.shape == (4, 6, 3)
    for row in (1, 2):
        with pytest.raises(DataError, match=r"secret\.png is outside the data set; put the file into its folder"):
            reader[row]


def test_default_splits_and_legend_of_a_user(saved):
    folder, _ = saved
    ids = "name: mine\nids: {0: sky, 1: road, 2: car, 8: tree, 10: wall, 13: bus, 255: ignore}\n"
    (folder / "dataset.yaml").write_text(ids)
    unseen, source = open_hub(str(folder)), open_hub(str(folder), "source")
    assert (unseen.name, len(unseen), unseen.domain) == (f"hf:{folder}:validation", 1, "mine")
    assert (source.name, len(source)) == (f"hf:{folder}:train", 3)
    assert unseen[0].labels.tolist() == [[10, 0, 13, 255], [15, 15, 3, 8]]


def test_parquet_and_other_columns(tmp_path):
    (tmp_path / "data").mkdir()
    rows(2, label="mask", dtype=np.uint16)[0].to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    reader = open_hub(f"{tmp_path}:train?legend=cityscapes-train&label=mask")
    assert np.array_equal(reader[1].labels, IDS)
    assert np.array_equal(open_hub(f"{tmp_path}:train?legend=cityscapes-train")[1].labels, IDS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (":train", r"nothing says what its ids stand for; add \?legend=NAME"),
        (":train?legend=cityscape", r"unknown legend 'cityscape'; did you mean 'cityscapes'"),
        (":train?lable=mask", r"unknown key 'lable'; did you mean 'label'"),
    ],
)
def test_wrong_options(text, message, saved):
    with pytest.raises(ConfigError, match=message) as caught:
        open_hub(f"{saved[0]}{text}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (":trian", r"unknown split 'trian'; did you mean 'train'"),
        (":train?label=title", r"unknown image column 'title'.* Known: image, label; choose by \?image= and \?label="),
        (":train?image=photo", r"unknown image column 'photo'"),
    ],
)
def test_what_is_not_there(text, message, saved):
    with pytest.raises(DataError, match=message):
        open_hub(f"{saved[0]}{text}{'&' if '?' in text else '?'}legend=cityscapes-train")


def test_folder_without_data(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"hf:.*empty cannot be loaded: ") as caught:
        open_hub(f"{tmp_path / 'empty'}:train?legend=cityscapes-train")
    assert "\n" not in str(caught.value)


def test_missing_package(saved, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"need the package `datasets`: pip install 'minorkey\[hf\]'"):
        open_hub(f"{saved[0]}:train?legend=cityscapes-train")


def test_a_target_needs_neither_legend_nor_label_column(saved):
    folder, pictures = saved
    reader = open_hub(str(folder), "target")
    assert (reader.name, reader.domain, len(reader)) == (f"hf:{folder}:train", "streets", 3)
    assert reader[1].labels is None
    assert np.array_equal(reader[1].image, pictures[1])
    (folder / "dataset.yaml").write_text("name: mine\nids: {0: spaceship}\n")
    assert open_hub(str(folder), "target").domain == "mine"
