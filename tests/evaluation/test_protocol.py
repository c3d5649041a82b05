import pytest
from pydantic import ValidationError

from minorkey.tasks.protocol import Protocol


def test_id_is_stable_across_releases():
    assert Protocol(label_space="cityscapes19").id() == "8ce90685"


@pytest.mark.parametrize(
    "change",
    [
        {"label_space": "other"},
        {"window": (64, 64), "stride": (43, 43)},
        {"resize": 2048},
        {"resize_in": {"mapillary": 2048}},
        {"flip": True},
        {"scales": (0.5, 1.0)},
        {"weights": "ema"},
        {"classes_scored": ("road",)},
        {"metric": "coco"},
        {"detections": 300},
        {"precision": "tf32"},
        {"absent": "zero"},
    ],
)
def test_every_field_changes_the_id(change):
    assert Protocol(**{"label_space": "cityscapes19", **change}).id() != Protocol(label_space="cityscapes19").id()


def test_survives_json():
    protocol = Protocol(label_space="x", window=(64, 128), stride=(43, 85), classes_scored=("road", "sky"))
    again = Protocol.model_validate_json(protocol.model_dump_json())
    assert again == protocol
    assert again.id() == protocol.id()


def test_describe_names_what_differs_from_the_plain_case():
    protocol = Protocol(
        label_space="x", resize=2048, flip=True, scales=(0.5, 1), weights="ema", classes_scored=("road",)
    )
    assert protocol.describe() == (
        "x, 1 class (road); classes that the labels do not show left out; long side 2048 px; whole image; "
        "scales 0.5, 1; averaged with the mirrored image; averaged (EMA) weights"
    )
    zero = protocol.model_copy(update={"absent": "zero"})
    assert "; classes that are only predicted count 0; " in zero.describe()
    assert zero.id() != protocol.id()


def test_window_without_stride_is_refused():
    with pytest.raises(ValidationError, match="window and stride go together"):
        Protocol(label_space="x", window=(64, 64))


def test_stride_beyond_window_is_refused():
    with pytest.raises(ValidationError, match="larger than window"):
        Protocol(label_space="x", window=(64, 64), stride=(64, 65))


def test_a_plus_in_a_name_is_no_corruption():
    protocol = Protocol(label_space="x", resize=640, resize_in={"day+rain": 320})
    sizes = {"day+rain": 320, "day+rain+fog@3": 320, "day+rain+fog@3+night@2": 320, "day": 640, "day+snow": 640}
    assert {name: protocol.in_domain(name).resize for name in sizes} == sizes


def test_each_domain_has_its_own_size():
    protocol = Protocol(label_space="x", resize=640, resize_in={"mapillary": 2048, "bdd100k": None})
    assert protocol.in_domain("mapillary").resize == 2048
    assert protocol.in_domain("mapillary+night@3").resize == 2048
    assert protocol.in_domain("bdd100k").resize is None
    assert protocol.in_domain("camvid").resize == 640
    assert "long side 640 px, mapillary at long side 2048 px, bdd100k at native size;" in protocol.describe()


def test_detection_says_its_metric():
    assert Protocol(label_space="x").scored.name == "mIoU"
    protocol = Protocol(label_space="x", metric="coco", detections=100)
    assert (protocol.scored.name, protocol.scored.class_name) == ("AP", "AP")
    assert protocol.describe().startswith("x, all classes; AP of COCO, 100 detections an image; native size")
    eleven = Protocol(label_space="x", metric="voc07", detections=300)
    assert eleven.scored.name == Protocol(label_space="x", metric="voc").scored.name == "AP50"
    assert "AP50 of Pascal VOC 2007, 11 points, 300 detections an image" in eleven.describe()
