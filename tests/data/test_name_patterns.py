import pytest

from minorkey.data.readers.pattern import Pattern, wrong_fields

PNG = frozenset({".png", ".jpg"})


@pytest.mark.parametrize(
    ("text", "known", "folder", "name", "fields"),
    [
        ("leftImg8bit/{split}/{key}_leftImg8bit.png", {"split": "val"}, "leftImg8bit/val",
         "leftImg8bit/val/ulm/ulm_1_leftImg8bit.png", {"split": "val", "key": "ulm/ulm_1"}),
        ("leftImg8bit/{split}/{key}_leftImg8bit.png", {}, "leftImg8bit/*",
         "leftImg8bit/val/ulm/ulm_1_leftImg8bit.png", {"split": "val", "key": "ulm/ulm_1"}),
        ("leftImg8bit/{split}/{key}_leftImg8bit.png", {"split": "val"}, "leftImg8bit/val",
         "leftImg8bit/train/ulm_1_leftImg8bit.png", None),
        ("{key}.*", {}, "", "a/b.JPG", {"key": "a/b"}),
        ("{key}.*", {}, "", "a/b.gif", None),
        ("*_images/{key}.png", {}, "*_images", "01_images/00001.png", {"key": "00001"}),
        ("*_images/{key}.png", {}, "*_images", "a/01_images/00001.png", None),
        ("x/{key}_rain_{variant}.png", {}, "x", "x/a/b_rain_0.1.png", {"key": "a/b", "variant": "0.1"}),
        ("{split}/{key}_{split}.png", {}, "*", "val/a_val.png", {"split": "val", "key": "a"}),
        ("{split}/{key}_{split}.png", {}, "*", "val/a_train.png", None),
        ("r/{domain}/{split}/{key}.png", {"domain": "fog", "split": "a.b"}, "r/fog/a.b", "r/fog/a.b/1.png",
         {"domain": "fog", "split": "a.b", "key": "1"}),
        ("r/{split}/{key}.png", {"split": "a.b"}, "r/a.b", "r/aXb/1.png", None),
    ],
)  # fmt: skip
def test_names_are_matched(text, known, folder, name, fields):
    pattern = Pattern(text, PNG, known)
    assert pattern.folder == folder
    assert pattern.match(name) == fields


def test_example():
    pattern = Pattern("a/{split}/{domain}/{key}_{variant}.png", PNG, {"split": "val"})
    assert pattern.example("x") == "a/val/*/x_*.png"


def test_wrong_fields():
    assert wrong_fields("a/{key}.png", ["key"]) is None
    assert wrong_fields("a/{name}.png", ["key"]).startswith(
        "'a/{name}.png' has a field {name}; the fields are {split},"
    )
    assert wrong_fields("a/*.png", ["key"]) == "'a/*.png' has no field {key}"
