"""Parts from outside at work: what they are given, what they may give, and what is said where they fail."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from minorkey.adapters import MethodOptions
from minorkey.adapters.inits import start_factors
from minorkey.config import resolve
from minorkey.data.classes import classes_of_source
from minorkey.data.corruptions import Corruption, split_corruption
from minorkey.data.readers import open_datasets
from minorkey.data.sample import Sample
from minorkey.data.transforms import TransformConfig, transform_own
from minorkey.errors import ConfigError, MinorkeyError, ModelError, OutsideError
from minorkey.export.run import export_run
from minorkey.labels import label_space
from minorkey.models.backbone import load_backbone
from minorkey.models.options import BackboneOptions
from minorkey.models.pyramid import PyramidBackbone
from minorkey.runs.evaluate import evaluate
from minorkey.runs.load import load
from minorkey.runs.train import train
from minorkey.system import outside

SAMPLE = Sample(np.full((8, 8, 3), 100, np.uint8), "d", "k", labels=np.zeros((8, 8), np.uint8))


def test_a_start_of_ones_own(write_module):
    write_module(
        "starts",
        """
        import torch
        from minorkey.adapters import MethodSpec
        def zero(W, rank, s):
            return torch.zeros(rank, W.shape[1]), torch.zeros(W.shape[0], rank)
        def wrong(W, rank, s):
            return torch.zeros(rank, 3), torch.zeros(W.shape[0], rank)
        good = MethodSpec(name="z", title="Z", description="zero", trains="adapter", start=zero)
        """,
    )
    options = MethodOptions(name="mine.starts:good")
    assert options.name == "mine.starts:good"
    A, B = start_factors(torch.ones(6, 5), options.spec.start, 2, 1.0)
    assert (A.shape, B.shape) == ((2, 5), (6, 2))
    import mine.starts

    with pytest.raises(OutsideError, match=r"gives A \(2, 3\) and B \(6, 2\).*expected \(2, 5\) and \(6, 2\)"):
        start_factors(torch.ones(6, 5), mine.starts.wrong, 2, 1.0)


NET = """
    import torch
    from torch import nn
    class Net(nn.Module):
        channels, patch_size, image_mean = [4, 6], 4, [0.1, 0.2, 0.3]
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 6, 2, 2)
        def forward(self, images):
            first = self.first(images)
            return first, self.second(first)
    class Silent(nn.Module):
        pass
    """


def test_a_backbone_of_ones_own(write_module):
    write_module("nets", NET)
    loaded = load_backbone(BackboneOptions(name="mine.nets:Net"))
    assert loaded.mean == (0.1, 0.2, 0.3)
    images = torch.randn(1, 3, 16, 24)
    maps = loaded.network(images).feature_maps
    assert [tuple(each.shape) for each in maps] == [(1, 4, 4, 6), (1, 6, 2, 3)]
    again = load_backbone(BackboneOptions(name="mine.nets:Net")).network
    assert torch.equal(again(images).feature_maps[1], maps[1]), "what it draws is the same every time"
    pyramid = PyramidBackbone.around(loaded.network, [4, 8])
    assert torch.equal(pyramid(images).feature_maps[0], maps[0])
    last = load_backbone(BackboneOptions(name="mine.nets:Net", out_blocks=[2])).network
    assert [each.shape[1] for each in last(images).feature_maps] == [6]


def test_a_saved_backbone_of_ones_own_is_made_by_who_names_it_alone(write_module, tmp_path, monkeypatch):
    write_module("nets", NET)
    network = load_backbone(BackboneOptions(name="mine.nets:Net")).network
    network.save_pretrained(tmp_path / "saved")
    images = torch.randn(1, 3, 16, 24)
    saved = BackboneOptions(name=str(tmp_path / "saved"))
    network.load_state_dict({name: value + 1 for name, value in network.state_dict().items()})
    network.save_pretrained(tmp_path / "saved")
    again = load_backbone(saved).network
    assert torch.equal(again(images).feature_maps[1], network(images).feature_maps[1])
    monkeypatch.setattr(outside, "_taken", set())
    with pytest.raises(ConfigError, match=r"saved model names backbone 'mine\.nets:Net'"):
        load_backbone(saved)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "mine.nets:Silent"}, "makes a Silent; expected an nn.Module whose attribute `channels`"),
        ({"name": "mine.nets:Net", "patch_size": 8}, "backbone.patch_size is not for 'mine.nets:Net'"),
        ({"name": "mine.nets:Net", "out_blocks": [3]}, "expected ascending numbers from 1 to 2"),
    ],
)
def test_a_backbone_that_cannot_be_used(write_module, options, message):
    write_module("nets", NET)
    with pytest.raises((ModelError, OutsideError), match=message):
        load_backbone(BackboneOptions(**options))


DATA = """
    import numpy as np
    from minorkey.data.sample import Sample
    class Grey:
        domain, notes = "grey", ["two of them"]
        def __init__(self, asked):
            self.asked = asked
        def __len__(self):
            return 2
        def __getitem__(self, index):
            if self.asked.part == "broken":
                raise KeyError("no such image")
            if self.asked.part == "text":
                return "sample"
            return Sample(np.full((8, 8, 3), index, np.uint8), "?", "?", labels=np.zeros((8, 8), np.uint8))
    def number(asked):
        return 5
    """


@pytest.fixture
def opened(write_module) -> Callable:
    write_module("data", DATA)
    space = label_space("street7")
    return lambda spec, role="source": open_datasets(spec, role=role, label_space=space)[0]


def test_a_data_set_of_ones_own(opened):
    reader = opened("mine.data:Grey:val")
    assert (reader.name, reader.domain, len(reader), reader.notes) == (
        "mine.data:Grey:val",
        "grey",
        2,
        ("two of them",),
    )
    sample = reader[1]
    assert (sample.domain, sample.key, sample.image[0, 0, 0]) == ("grey", reader.key(1), 1)
    assert sample.labels is not None
    assert opened("mine.data:Grey", "target")[0].labels is None


BOXED = """
    import numpy as np
    from minorkey.data.sample import Sample
    NAN = float("nan")
    GIVEN = {
        "good": ([[-4, 1, 5, 6.5]], [3], None),
        "none": ([], None, None),
        "classless": ([[1, 1, 5, 6]], None, None),
        "beyond": ([[1, 1, 5, 6]], [7], None),
        "named": ([[1, 1, 5, 6]], ["car"], None),
        "nan": ([[1, NAN, 5, 6]], [0], None),
        "outside": ([[1, 1, 5, 6], [9, 9, 12, 12]], [0, 0], None),
        "marked": ([[1, 1, 5, 6]], [0], [True, False]),
    }
    class Boxed:
        def __init__(self, asked):
            self.given = GIVEN[asked.part]
        def __len__(self):
            return 1
        def __getitem__(self, index):
            boxes, classes, crowd = self.given
            boxes = np.array(boxes, np.float64).reshape(-1, 4)
            return Sample(np.zeros((8, 8, 3), np.uint8), "?", "?", boxes=boxes, box_classes=classes, crowd=crowd)
    """

WRONG = {
    "classless": r"gives 1 boxes, box_classes \(0,\) and crowd \(1,\); expected a class and a mark for each box",
    "beyond": "sample '0' gives class 7; expected train ids, whole numbers from 0 to 6",
    "named": "gives class 'car'; expected train ids",
    "nan": r"gives box \[1\.0, nan, 5\.0, 6\.0\], which is not finite in an image of 8x8",
    "outside": r"gives box \[9\.0, 9\.0, 12\.0, 12\.0\], which is outside in an image of 8x8",
    "marked": r"gives 1 boxes, box_classes \(1,\) and crowd \(2,\)",
}


@pytest.fixture
def boxed(write_module) -> Callable:
    write_module("boxed", BOXED)
    space = label_space("street7")
    return lambda part: open_datasets(f"mine.boxed:Boxed:{part}", role="source", label_space=space, annotation="boxes")[
        0
    ]


def test_boxes_of_ones_own_data_set_are_clipped_and_none_is_a_crowd_by_itself(boxed):
    sample = boxed("good")[0]
    assert sample.boxes.tolist() == [[0, 1, 5, 6.5]]
    assert (sample.boxes.dtype, sample.box_classes.dtype) == (np.float32, np.int64)
    assert (sample.crowd.tolist(), sample.cut) == ([False], 1)
    assert (boxed("none")[0].boxes.shape, len(boxed("none")[0].box_classes)) == ((0, 4), 0)


@pytest.mark.parametrize("part", WRONG)
def test_boxes_of_ones_own_data_set_that_are_wrong_are_one_line(boxed, part):
    with pytest.raises(OutsideError, match=WRONG[part]):
        boxed(part)[0]


def test_a_data_set_of_ones_own_may_name_its_classes(write_module):
    write_module("data", DATA + "class Named(Grey):\n        categories = ('soil', 'road')\n")
    assert classes_of_source(["mine.data:Named"], annotation="pixels", data_root=None) == "soil, road"
    with pytest.raises(ConfigError, match=r"'mine\.data:Grey' names no classes by itself"):
        classes_of_source(["mine.data:Grey"], annotation="pixels", data_root=None)


def test_a_data_set_of_ones_own_that_cannot_be_used(opened):
    with pytest.raises(OutsideError, match=r"'mine\.data:Grey' failed: KeyError: 'no such image' \(data\.py, line 12"):
        opened("mine.data:Grey:broken")[0]
    with pytest.raises(OutsideError, match="gives a str; expected a Sample"):
        opened("mine.data:Grey:text")[0]
    with pytest.raises(OutsideError, match="makes a int; expected __len__ and __getitem__"):
        opened("mine.data:number")


def test_a_folder_may_name_its_reader_if_the_user_allows_it(opened, tmp_path):
    (tmp_path / "farm").mkdir()
    file = tmp_path / "farm" / "dataset.yaml"
    file.write_text("reader: mine.data:Grey\n")
    with pytest.raises(ConfigError, match=r"dataset\.yaml names data set 'mine\.data:Grey'.*--allow-outside"):
        opened(f"{tmp_path}/farm")
    with outside.outside_allowed():
        reader = opened(f"{tmp_path}/farm:val")
    assert (len(reader), reader[0].labels is not None) == (2, True)
    file.write_text("reader: mine.data:Grey\nids: {0: road}\n")
    with pytest.raises(ConfigError, match=r"`reader` reads all by itself; leave 'ids' out"):
        opened(f"{tmp_path}/farm")


def test_the_folder_of_a_data_set_is_no_module(tmp_path, monkeypatch, opened):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.data").mkdir()
    with pytest.raises(MinorkeyError, match=r"mine\.data/dataset\.yaml is missing"):
        opened("mine.data:Grey")


def test_a_corruption_of_ones_own(write_module):
    write_module(
        "looks",
        """
        from minorkey.data.corruptions import CorruptionSpec
        def darker(image, severity, rng):
            return image - severity
        def fails(image, severity, rng):
            return image[0] / None
        dark = CorruptionSpec("dark", "dark", "light", "darker", "own", darker)
        broken = CorruptionSpec("broken", "broken", "light", "none", "own", fails)
        """,
    )
    assert split_corruption("camvid:val+mine.looks:dark@2") == ("camvid:val", "mine.looks:dark@2")
    assert split_corruption("a+mine.looks:dark") == ("a+mine.looks:dark", None), "it may be a split of a folder"
    assert (Corruption.parse("mine.looks:dark@2").apply(SAMPLE.image, "k") == 98).all()
    with pytest.raises(OutsideError, match=r"corruption 'mine\.looks:broken' failed: TypeError: .*looks\.py, line 6"):
        Corruption.parse("mine.looks:broken@1").apply(SAMPLE.image, "k")


def test_a_transform_of_ones_own(write_module):
    write_module(
        "transforms",
        """
        from dataclasses import replace
        import numpy as np
        def brighter(sample, rng):
            return replace(sample, image=sample.image + np.uint8(10))
        def larger(sample, rng):
            return replace(sample, image=np.zeros((9, 8, 3), np.uint8))
        def nothing(sample, rng):
            pass
        """,
    )
    names = [f"mine.transforms:{name}" for name in ("brighter", "larger", "nothing")]
    rng = np.random.default_rng(0)
    twice = TransformConfig(crop=(8, 8), own=(names[0], names[0]))
    assert (transform_own(SAMPLE, twice, rng).image == 120).all()
    with pytest.raises(OutsideError, match=r"larger' gives a image \(9, 8, 3\) uint8; expected a Sample"):
        transform_own(SAMPLE, TransformConfig(crop=(8, 8), own=(names[1],)), rng)
    with pytest.raises(OutsideError, match="nothing' gives a NoneType; expected a Sample"):
        transform_own(SAMPLE, TransformConfig(crop=(8, 8), own=(names[2],)), rng)
    with pytest.raises(ConfigError, match=r"^transform 'flip' is none; give your own as package\.module:attribute$"):
        resolve("demo_quick", {"transform": {"own": ["flip"]}})


@pytest.mark.parametrize("workers", [0, 1])
def test_a_part_that_fails_in_a_training_is_named_in_one_line(write_module, make_config, command, tmp_path, workers):
    write_module("transforms", "def fails(sample, rng):\n    return sample.image['x']\n")
    config = make_config(transform={"own": ["mine.transforms:fails"]}, training={"workers": workers})
    with pytest.raises(OutsideError, match=r"^transform 'mine\.transforms:fails' failed: IndexError: .*, line 2\)"):
        train(config, tmp_path / "run")
    code, error = command("train", "--resume", tmp_path / "run")
    assert code == 2
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith("minorkey: transform 'mine.transforms:fails' failed: IndexError")
    code, error = command("train", "--resume", tmp_path / "run", "--debug")
    assert "return sample.image['x']" in error


def test_a_run_with_a_part_from_outside_is_judged_resumed_and_loaded(write_module, make_config, tmp_path, monkeypatch):
    write_module("nets", NET)
    config = make_config(backbone={"name": "mine.nets:Net"}, method="full")
    scores = train(config, tmp_path / "run")
    assert train(config, tmp_path / "run", resume=True) == scores
    assert evaluate(tmp_path / "run").domains == scores.domains
    with pytest.raises(ConfigError, match=r"backbone 'mine\.nets:Net' is code that no other library has"):
        export_run(tmp_path / "run", "model")
    monkeypatch.setattr(outside, "_taken", set())  # as in another process
    with pytest.raises(ConfigError, match=r"config\.yaml names backbone 'mine\.nets:Net'"):
        load(tmp_path / "run")
    load(tmp_path / "run", allow_outside=True)
