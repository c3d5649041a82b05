import numpy as np
import pytest
from PIL import Image

from minorkey.errors import StorageError
from minorkey.labels import label_space
from minorkey.runs.load import load
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.segmentation.prediction import SegmentationPrediction

SPACE = label_space("cityscapes19")


@pytest.fixture
def prediction():
    labels = np.array([[0, 10], [13, 0]], np.uint8)
    return SegmentationPrediction(labels, np.full((2, 2, 3), 100, np.uint8), SPACE)


def test_drawing_mixes_the_image_with_the_class_colours(prediction):
    drawn = np.asarray(prediction.draw(opacity=0.5))
    colours = np.array([[SPACE.colours[i] for i in row] for row in prediction.labels], float)
    assert np.abs(drawn - (100 + colours) / 2).max() <= 0.5
    assert np.array_equal(np.asarray(prediction.draw(0.0)), prediction.image)


def test_saved_id_map_holds_the_labels(prediction, tmp_path):
    prediction.save(tmp_path / "deep" / "ids.png")
    with Image.open(tmp_path / "deep" / "ids.png") as image:
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), prediction.labels)


def test_where_nothing_can_be_saved(prediction, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        prediction.save(tmp_path / "file" / "ids.png")


def test_shows_itself_in_a_notebook(prediction):
    assert prediction._repr_png_().startswith(b"\x89PNG")


def test_predictor_measures_a_domain_by_its_own_size(finished_run):
    predictor = load(finished_run.path, device="cpu")
    predictor.protocol = Protocol(label_space="cityscapes19", resize_in={"fog": 64})
    image = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    fog, clear = (predictor.in_domain(name).predict(image, probabilities=True) for name in ("fog", "clear"))
    assert predictor.in_domain("fog").protocol.resize == 64
    assert np.array_equal(clear.probabilities, predictor.predict(image, probabilities=True).probabilities)
    assert not np.allclose(fog.probabilities, clear.probabilities)
