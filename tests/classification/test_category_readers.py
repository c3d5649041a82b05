"""Class folders, tables and published sets, opened as a user names them."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from minorkey.data.classes import classes_of_source
from minorkey.data.readers import domain_of, each_domain, open_datasets, title_of
from minorkey.data.readers.categories import named_category_datasets
from minorkey.datacheck import check
from minorkey.datacheck.targets import open_target
from minorkey.errors import ConfigError, DataError
from minorkey.labels import label_space

SPACE = label_space("apple, leaf, sky")


def opened(spec, role="source", space=SPACE, **options):
    return open_datasets(str(spec), role=role, label_space=space, annotation="category", **options)


def keys(reader) -> set[str]:
    return {reader.key(index) for index in range(len(reader))}


def classes_in(root) -> str:
    return classes_of_source([str(root)], annotation="category", data_root=None)


def test_domains_are_folders_and_each_class_has_its_train_id(class_folders):
    readers = opened(class_folders(), "unseen")
    assert [reader.domain for reader in readers] == ["fruit-day", "fruit-dusk", "fruit-night"]
    assert {len(reader) for reader in readers} == {30}
    sample = readers[1][12]
    assert (sample.key, sample.category, sample.domain, sample.image.shape) == ("leaf/02", 1, "fruit-dusk", (40, 32, 3))


def test_one_domain_is_named_by_its_folder_or_with_that_of_the_whole(class_folders):
    root = class_folders()
    ((inner,), (joined,)) = opened(root / "dusk", "unseen"), opened(f"{root}-dusk", "unseen")
    assert (inner.domain, joined.domain) == ("dusk", "fruit-dusk")
    assert keys(inner) == keys(joined)


def test_splits_are_drawn_by_a_seed_from_each_domain(class_folders):
    root = class_folders()
    train, val, whole = (opened(f"{root}-day:{split}")[0] for split in ("train", "val", "all"))
    assert (len(train), len(val), len(whole)) == (24, 6, 30)
    assert keys(train) | keys(val) == keys(whole)
    assert keys(train) & keys(val) == set()
    assert keys(opened(f"{root}-day:val", seed=0)[0]) == keys(val) != keys(opened(f"{root}-day:val", seed=1)[0])


@pytest.mark.parametrize(("role", "count"), [("source", 24), ("target", 24), ("validation", 6), ("unseen", 30)])
def test_which_split_a_role_takes(class_folders, role, count):
    reader = opened(class_folders(domains=["day"]) / "day", role)
    # A target may be any folder of images: then it is all of them.
    assert len(reader[0]) == (30 if role == "target" else count)


def test_a_target_has_no_classes(class_folders):
    assert opened(f"{class_folders()}-day", "target")[0][0].category is None


def test_published_splits_are_folders(class_folders):
    root = class_folders("split", domains=["train", "val"])
    (train,), (val,) = opened(root), opened(root, "validation")
    assert (train.domain, train.name, val.name) == ("split", f"{root}:train", f"{root}:val")
    assert len(train) == len(val) == 30
    with pytest.raises(DataError, match="unknown split 'tset'"):
        opened(f"{root}:tset")


@pytest.mark.parametrize(
    "folders", [("Training", "Testing"), ("train", "test", "extra")], ids=["in capitals", "and one more"]
)
def test_images_to_judge_on_are_not_trained_on(class_folders, folders):
    root = class_folders("split", domains=folders)
    (train,), (test,) = opened(root), opened(root, "unseen")
    assert (train.name, test.name) == (f"{root}:train", f"{root}:test")
    assert len(train) == len(test) == 30
    if len(folders) > 2:
        assert len(opened(f"{root}:extra")[0]) == 30


def test_a_flat_folder_beside_a_split_is_no_class(class_folders):
    root = class_folders("split", domains=["train"])
    (root / "test").mkdir()
    Image.new("RGB", (8, 8)).save(root / "test" / "0.png")
    assert classes_in(root) == "apple, leaf, sky"
    assert len(opened(root)[0]) == 30


def test_one_split_in_two_folders_is_refused(class_folders):
    root = class_folders("split", domains=["train", "val", "valid"])
    with pytest.raises(DataError, match="has split 'val' twice, as val/ and valid/; move one of them away"):
        opened(root)


def test_a_table_names_files_classes_domains_and_splits(class_folders):
    root = class_folders()
    rows = ["file,category,domain,split"]
    rows += [f"day/apple/0{i}.png,apple,bright,{'val' if i > 7 else 'train'}" for i in range(10)]
    rows += [f"night/leaf/0{i}.png,leaf,dark,train" for i in range(10)]
    (root / "labels.csv").write_text("\n".join(rows))
    bright, dark = opened(f"{root}:train")
    assert (bright.domain, len(bright), dark.domain, len(dark)) == ("fruit-bright", 8, "fruit-dark", 10)
    assert (bright[0].category, dark[0].category) == (0, 1)
    assert len(opened(f"{root}-bright", "validation")[0]) == 2


def test_a_table_of_another_tool(class_folders):
    root = class_folders()
    rows = ["Image,label,Set"]
    rows += [f"day/apple/0{i}.png,apple,{'valid' if i > 7 else 'training'}" for i in range(10)]
    rows += [f"night/leaf/0{i}.png,leaf,training" for i in range(10)]
    (root / "annotations.csv").write_bytes("\r\n".join(rows).encode("utf-8-sig"))
    assert len(opened(root, "source")[0]) == 18
    assert len(opened(root, "validation")[0]) == 2
    (root / "more.csv").write_text("image,label\n")  # which of the two is not clear: it is class folders again
    assert len(opened(root, "source")) == 3


@pytest.mark.parametrize("path", ["day/apple/00.png", "fruit/day/apple/00.png", "{root}/day/apple/00.png"])
def test_a_table_with_paths_of_any_kind(class_folders, path):
    root = class_folders()
    rows = ["file;category", f"{path.format(root=root.resolve())};apple", "day\\leaf\\00.png;leaf"]
    (root / "labels.csv").write_text("\n".join(rows))
    (reader,) = opened(root, "unseen")
    assert [reader.key(i) for i in range(2)] == ["day/apple/00", "day/leaf/00"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,kind\na.png,apple", "has no column 'category'"),
        ("file,category\nday/apple/00.png,", "line 2: day/apple/00.png has no category"),
        ("file,category\nday/apple/99.png,apple", "line 2: day/apple/99.png is missing"),
        (
            "file,category\nday/apple/00.png,apple\nday/apple/00.png,leaf",
            "day/apple/00.png is of 'apple' and 'leaf'; keep one of the lines",
        ),
    ],
)
def test_what_is_wrong_with_a_table(class_folders, text, message):
    root = class_folders()
    (root / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        opened(root)


def test_an_archive_is_read_as_it_is(class_folders, tmp_path):
    root = class_folders()
    packed = tmp_path / "packed"
    packed.mkdir()
    with zipfile.ZipFile(packed / "fruit.zip", "w") as archive:
        for file in sorted(root.rglob("*.png")):
            archive.write(file, file.relative_to(root))
    (packed / "dataset.yaml").write_text("domains: [day, dusk, night]\n")
    inside, outside = opened(packed, "unseen"), opened(root, "unseen")
    assert [keys(reader) for reader in inside] == [keys(reader) for reader in outside]
    assert np.array_equal(inside[2][7].image, outside[2][7].image)


def test_the_classes_are_those_of_the_folders(class_folders):
    assert classes_in(class_folders()) == "apple, leaf, sky"


def test_classes_may_be_renamed_and_left_out(class_folders):
    root = class_folders()
    (root / "dataset.yaml").write_text("domains: [day, dusk]\nread_as: {apple: pome}\nignores: [sky]\n")
    assert classes_in(root) == "leaf, pome"
    reader = opened(root, "unseen", label_space("leaf, pome"))[0]
    assert (len(reader), reader[0].category) == (20, 1)
    (found,) = check(f"{root}-day", {"task": "classification", "label_space": "leaf, pome"})[0].data[:1]
    own = {each.name: (each.becomes, each.count) for each in found.own}
    assert own["sky"][0] == "ignored"
    assert own["apple"][0] == "pome"
    assert sum(count for _, count in own.values()) == found.images + own["sky"][1]
    assert own["sky"][1] > 0


def test_bad_input_is_one_line(class_folders, tmp_path):
    root = class_folders()
    (root / "dusk" / "leaf").rename(root / "dusk" / "leaves")
    with pytest.raises(DataError, match="domain 'fruit-day' has class 'leaf', domain 'fruit-dusk' has not"):
        classes_in(root)
    with pytest.raises(ConfigError, match="has no place for class 'leaves'"):
        opened(root)
    (root / "night" / "pear").mkdir()
    with pytest.raises(DataError, match=r"class folder .*night/pear holds no images; fill it, or remove it"):
        opened(f"{root}-night")
    listed = classes_in(class_folders("listed", classes=["apple, red", "leaf"]))
    assert label_space(listed).classes == ("apple, red", "leaf")
    with pytest.raises(DataError, match="shows one class only, 'leaf'; a classifier needs two or more"):
        classes_in(class_folders("green", classes=["leaf"]))
    with pytest.raises(DataError, match="lost is missing; expected class folders in it"):
        classes_in(tmp_path / "lost")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="holds no classified images; expected <class>/, <domain>/<class>/"):
        opened(tmp_path / "nothing")


def test_a_class_that_a_domain_lacks_is_said_where_the_classes_are_named(class_folders):
    root = class_folders(classes=["apple", "leaf"])
    assert opened(f"{root}-day")[0].notes == (f"no image of {root}-day:train shows sky",) or "sky" in str(
        opened(f"{root}-day")[0].notes
    )


@pytest.mark.parametrize("name", named_category_datasets())
def test_published_sets_are_read_as_they_are_unpacked(name, tmp_path):
    (form,) = named_category_datasets()[name]
    for folder in form.domains.values():
        for title in ("ant", "bee"):
            place = tmp_path / name / folder / title
            place.mkdir(parents=True)
            for index in range(5):
                Image.new("RGB", (8, 8)).save(place / f"{index}.jpg")
    space = label_space("ant, bee")
    readers = opened(name, "unseen", space, data_root=tmp_path)
    assert [reader.domain for reader in readers] == [f"{name}-{domain}" for domain in form.domains]
    assert {len(reader) for reader in readers} == {10}
    specs = each_domain(name, annotation="category", data_root=tmp_path)
    assert [opened(spec, "unseen", space, data_root=tmp_path)[0].domain for spec in specs] == specs


def test_a_published_set_of_another_task_is_refused_with_its_own():
    with pytest.raises(ConfigError, match="is for classification, the task is segmentation"):
        open_datasets("pacs", role="source", label_space=SPACE, data_root=Path("x"))


def test_more_classes_than_a_byte_holds_keep_their_own_ids(tmp_path):
    names = [f"class {number:03d}" for number in range(300)]
    for title in (names[255], names[299]):
        (tmp_path / "many" / title).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "many" / title / "0.png")
    reader = opened(tmp_path / "many", "unseen", label_space(", ".join(names)))[0]
    assert [reader[index].category for index in range(2)] == [255, 299]


@pytest.fixture
def hub_folder(tmp_path) -> Path:
    datasets = pytest.importorskip("datasets")
    images = [Image.fromarray(np.full((8, 8, 3), place, np.uint8)) for place in range(20)]
    columns = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["leaf", "apple"]),
        "style": datasets.Value("string"),
    }
    rows = {
        "image": images,
        "label": [place % 2 for place in range(20)],
        "style": ["photo" if place < 10 else "sketch" for place in range(20)],
    }
    datasets.Dataset.from_dict(rows, features=datasets.Features(columns)).save_to_disk(str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_rows_of_a_hub_data_set_have_classes_and_domains_by_their_columns(hub_folder):
    spec = f"hf:{hub_folder}?domain=style"
    assert classes_in(spec) == "apple, leaf"
    photo, sketch = opened(spec, "unseen", label_space("apple, leaf"))
    assert (photo.domain, sketch.domain, len(photo), len(sketch)) == ("hub-photo", "hub-sketch", 10, 10)
    assert [(photo[i].category, int(photo[i].image[0, 0, 0])) for i in (0, 3)] == [(1, 0), (0, 3)]
    assert sketch.key(0) == "leaf/000010"
    train, val = (opened(spec, role, label_space("apple, leaf"))[0] for role in ("source", "validation"))
    assert (len(train), len(val)) == (8, 2)
    assert keys(train) | keys(val) == keys(photo)
    specs = each_domain(spec, annotation="category", data_root=None)
    assert specs == [f"{spec}&only=photo", f"{spec}&only=sketch"]
    assert [title_of(each) for each in specs] == ["hub-photo", "hub-sketch"]
    assert domain_of(f"hf:{hub_folder}:train?only=photo&domain=style") == domain_of(specs[0]) != domain_of(specs[1])
    (alone,) = opened(specs[1], "source", label_space("apple, leaf"))
    whole = opened(spec, "source", label_space("apple, leaf"))[1]
    assert (alone.domain, keys(alone)) == ("hub-sketch", keys(whole))
    with pytest.raises(DataError, match="unknown domain 'skech'; did you mean 'sketch'"):
        opened(f"{spec}&only=skech")
    with pytest.raises(ConfigError, match=r"name their column too, e.g. \?domain=style&only=photo"):
        opened(f"hf:{hub_folder}?only=photo")
    with pytest.raises(DataError, match="unknown column 'lable'; did you mean 'label'"):
        opened(f"hf:{hub_folder}?label=lable")
    with pytest.raises(ConfigError, match="has no place for class 'apple'"):
        opened(spec, space=label_space("leaf, sky"))


@pytest.mark.parametrize("missing", [-1, None])
def test_rows_without_a_class_can_be_a_target_alone(missing, tmp_path):
    datasets = pytest.importorskip("datasets")
    columns = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["leaf", "apple"])}
    rows = {"image": [Image.new("RGB", (8, 8))] * 2, "label": [1, missing]}
    datasets.Dataset.from_dict(rows, features=datasets.Features(columns)).save_to_disk(str(tmp_path / "hub"))
    with pytest.raises(DataError, match=r"row 1 has no label; leave it out, or choose a split whose rows have one"):
        opened(f"hf:{tmp_path}/hub", "unseen", label_space("apple, leaf"))
    (target,) = opened(f"hf:{tmp_path}/hub:all", "target", label_space("apple, leaf"))
    assert [target[index].category for index in range(2)] == [None, None]


def test_the_check_finds_images_that_are_trained_and_judged_on(class_folders):
    root = class_folders(domains=["day", "dusk"])
    options = {"task": "classification", "source": f"{root}-day", "evaluation": {"source": False}}
    file = root / "run.yaml"
    file.write_text(yaml.safe_dump({**options, "label_space": "apple, leaf, sky"}))
    (shared,) = open_target(str(file), {"unseen": [f"{root}-day", f"{root}-dusk"]}).warnings
    assert shared.startswith("24 of 30 images of ")
    assert shared.endswith("fruit-day:train, and unseen: its scores would say little")
    (shared,) = open_target(str(file), {"source": f"{root}-day:all", "unseen": f"{root}-day:val"}).warnings
    assert shared.startswith("6 of 6 images of ")
    assert open_target(str(file), {"unseen": f"{root}-day:val"}).warnings == []


def test_the_check_looks_at_the_split_that_the_seed_of_the_run_draws(class_folders):
    root = class_folders(domains=["day"])
    checked = open_target(f"{root}-day", {"task": "classification", "seed": 3}).opened[0].reader
    assert keys(checked) == keys(opened(f"{root}-day", seed=3)[0]) != keys(opened(f"{root}-day")[0])


@pytest.mark.parametrize("names", [("train", "test"), ("train_images", "test_images"), ("train", "valid", "test")])
def test_splits_of_photographs_are_no_classes(class_folders, names):
    root = class_folders(domains=["day"]) / "day"
    for folder, name in zip(sorted(root.iterdir()), names, strict=False):
        folder.rename(root / name)
    for folder in sorted(root.iterdir()):
        if folder.name not in names:
            shutil.rmtree(folder)
    with pytest.raises(DataError, match=r"folders .* are called as splits, not as classes; put class folders in them"):
        opened(root)


@pytest.mark.parametrize("end", [".json", ".xml", ".txt"])
def test_folders_of_annotated_images_are_no_classes(class_folders, end):
    root = class_folders(domains=["day"]) / "day"
    for image in sorted(root.glob("*/*.*")):
        image.with_suffix(end).write_text("x")
    with pytest.raises(DataError, match=rf"{end} and the like beside them, so the folders are perhaps no classes"):
        opened(root)
    (root / "dataset.yaml").write_text("images: '{category}/{key}.*'\n")
    assert len(opened(root)[0]) == 24


def test_images_that_browsers_save_are_read(class_folders):
    root = class_folders(domains=["day"]) / "day"
    file = sorted(root.glob("*/*.*"))[0]
    Image.open(file).convert("RGB").save(file.with_suffix(".jfif"), "JPEG")
    file.unlink()
    (reader,) = opened(f"{root}:all")
    assert len(reader) == 30
    assert reader[0].image.shape == (40, 32, 3)
