from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from minorkey.data.sample import Batch
from minorkey.data.transforms import to_tensor
from minorkey.errors import ConfigError, ImageSizeError
from minorkey.labels import label_space
from minorkey.models.backbone import load_backbone
from minorkey.models.detectors import DETECTION_HEADS
from minorkey.models.heads.detection.detr import box_targets
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.tasks.detection.labels import BoxLabels
from minorkey.tasks.detection.task import Detection, best, check_protocol, padded
from minorkey.tasks.protocol import Protocol

NAMES = pytest.mark.parametrize("name", DETECTION_HEADS.shipped)
TASK = Detection()


class Says(nn.Module):
    """A network that gives these boxes, as shares of its canvas, with these logits, whatever it sees."""

    def __init__(self, boxes: list[list[float]], logits: list[list[float]]) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_queries=len(boxes))
        self.boxes, self.logits = torch.tensor([boxes]), torch.tensor([logits])
        self.canvas = (0, 0)
        self.seen = torch.empty(0)

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        self.seen = pixel_values
        self.canvas = tuple(pixel_values.shape[-2:])
        return SimpleNamespace(logits=self.logits, pred_boxes=self.boxes)


@pytest.fixture
def make(backbone_folder):
    def build(name, **changes):
        settings = {"channels": 32, "queries": 6, "encoder_layers": 1, "decoder_layers": 2, **changes}
        backbone = load_backbone(BackboneOptions(name=str(backbone_folder))).network
        return Detection().build(backbone, HeadOptions(name=name, **settings), 3, seed=0).eval()

    return build


def protocol(**changes):
    return Protocol(label_space="world7", metric="coco", **changes)


def batch_of(height, width, boxes, classes):
    images = torch.randn(len(boxes), 3, height, width, generator=torch.Generator().manual_seed(0))
    names = [""] * len(boxes)
    labels = BoxLabels(
        [torch.tensor(each).reshape(-1, 4) for each in boxes],
        [torch.tensor(each, dtype=torch.int64) for each in classes],
    )
    return Batch(images, labels, names, names)


@NAMES
def test_terms_sum_up_to_the_loss_of_the_model(make, name):
    model, batch = make(name), batch_of(64, 96, [[[8.0, 4, 40, 60]], []], [[2], []])
    terms = TASK.loss(model, batch)
    output = model(
        pixel_values=batch.pixel_values, labels=box_targets(batch.labels.boxes, batch.labels.classes, (64, 96))
    )
    torch.testing.assert_close(torch.stack([*terms.values()]).sum(), output.loss)


@NAMES
def test_batch_without_any_object_is_learnt_from(make, name):
    model = make(name).train()
    terms = TASK.loss(model, batch_of(64, 64, [[], []], [[], []]))
    loss = torch.stack([*terms.values()]).sum()
    assert torch.isfinite(loss)
    loss.backward()
    classifier = model.head.classifier if name == "atss" else model.class_embed[-1]
    assert classifier.bias.grad.sum() > 0  # every class less likely


@NAMES
def test_canvas_of_other_sides_is_padded(make, name):
    model, sides = make(name), (70, 90)
    odd = batch_of(*sides, [[[8.0, 4, 40, 60]]], [[1]])
    images = torch.zeros(1, 3, 96, 96)
    images[..., :70, :90] = odd.pixel_values
    even = replace(odd, pixel_values=images)
    for one, other in zip(TASK.loss(model, odd).values(), TASK.loss(model, even).values(), strict=True):
        torch.testing.assert_close(one, other)


@NAMES
def test_prediction_is_that_of_the_model(make, name):
    model = make(name)
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        output = model(pixel_values=image)
    found = TASK.predict(model, image, protocol())
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert found.classes.dtype == np.int64
    scores = output.logits[0].sigmoid()
    np.testing.assert_allclose(found.scores[0], scores.max(), rtol=1e-5)
    query, category = divmod(int(scores.argmax()), 3)
    assert found.classes[0] == category
    x, y, width, height = (output.pred_boxes[0, query] * torch.tensor([96, 64, 96, 64])).tolist()
    expected = np.clip([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 0, [96, 64, 96, 64])
    np.testing.assert_allclose(found.boxes[0], expected, rtol=1e-4)


def test_every_query_may_be_of_several_classes():
    scores, boxes, classes = best(torch.tensor([[2.0, -1], [1, 3]]), torch.eye(4)[:2], most=3)
    torch.testing.assert_close(scores, torch.tensor([3.0, 2, 1]).sigmoid())
    assert torch.equal(boxes, torch.eye(4)[[1, 0, 1]])
    assert classes.tolist() == [1, 0, 0]


@pytest.mark.parametrize(("most", "count"), [(None, 100), (7, 7), (500, 120)])
def test_number_of_detections_is_the_protocols(most, count):
    model = Says([[0.5, 0.5, 0.2, 0.2]] * 40, [[0.0, 1, 2]] * 40)
    found = TASK.predict(model, torch.zeros(1, 3, 128, 128), protocol(detections=most))
    assert len(found) == count
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize(
    ("size", "resize", "canvas"),
    [
        ((100, 200), None, (128, 224)),  # padded
        ((64, 96), None, (64, 96)),  # as it is
        ((100, 200), 64, (32, 64)),  # resized
        ((100, 200), 250, (128, 256)),  # both: to 125 x 250
    ],
)
def test_boxes_are_in_pixels_of_the_image_that_was_given(size, resize, canvas):
    height, width = size
    factor = resize / max(size) if resize else 1.0
    wanted = np.array([[0.1 * width, 0.2 * height, 0.6 * width, 0.5 * height]])
    on_canvas = wanted * factor / np.array([canvas[1], canvas[0]] * 2)
    x0, y0, x1, y1 = on_canvas[0].tolist()
    model = Says([[(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]], [[3.0]])
    found = TASK.predict(model, torch.zeros(1, 3, height, width), protocol(resize=resize))
    assert model.canvas == canvas
    np.testing.assert_allclose(found.boxes, wanted, rtol=1e-5)


def test_an_image_is_made_smaller_as_training_does_it():
    """Pillow's filter is as wide as a pixel of the result, in training crops and in an exported model's own code."""
    image = np.random.default_rng(0).integers(0, 256, (96, 192, 3), dtype=np.uint8)
    model = Says([[0.5, 0.5, 0.2, 0.2]], [[3.0]])
    TASK.predict(model, to_tensor(image, (0.0,) * 3, (1.0,) * 3)[None], protocol(resize=64))
    small = np.asarray(Image.fromarray(image).resize((64, 32), Image.Resampling.BILINEAR))
    seen = 255 * model.seen[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(seen, small, atol=1.01)  # Pillow rounds twice


def test_tiles_find_in_an_image_what_is_in_each_and_one_object_once():
    """Tiles of 64 at a step of 43 along a side of 107; every tile finds a box in its middle and one at its right."""
    model = Says([[0.5, 0.5, 0.25, 0.25], [0.8359375, 0.5, 0.25, 0.25]], [[3.0], [2.0]])
    (started,) = TASK.start(model, torch.zeros(1, 3, 64, 107), protocol(tile=(64, 64)), window_batch=1)
    found = TASK.finish(started, np.zeros((64, 107, 3), np.uint8), label_space("weather7"))
    expected = [[24, 24, 40, 40], [67, 24, 83, 40], [45.5, 24, 61.5, 40], [88.5, 24, 104.5, 40]]
    np.testing.assert_allclose(sorted(found.boxes.tolist()), sorted(expected), atol=1e-4)
    assert (np.diff(found.scores) <= 0).all()
    model = Says([[0.5, 0.5, 0.25, 0.25], [0.51, 0.5, 0.25, 0.25]], [[3.0, -3], [2.0, 2]])  # nearly the same box
    (started,) = TASK.start(model, torch.zeros(1, 3, 64, 64), protocol(detections=3, tile=(64, 64)))
    assert started.kept.tolist() == [True, True, False]
    assert started.classes[:2].tolist() == [0, 1]


def test_boxes_end_at_the_image_and_those_in_the_padding_are_left_out():
    inside, across, beyond, inverted = (
        [0.25, 0.5, 0.5, 0.5],
        [0.5, 0.5, 0.8, 3.0],
        [0.9, 0.5, 0.1, 0.5],
        [0.2, 0.5, -0.1, 0.5],
    )
    model = Says([inside, across, beyond, inverted], [[4.0], [3], [2], [1]])
    found = TASK.predict(model, torch.zeros(1, 3, 32, 48), protocol())  # on 32 x 64
    np.testing.assert_allclose(found.boxes, [[0, 8, 32, 24], [6.4, 0, 48, 32]], atol=1e-4)
    assert len(found) == len(found.scores) == len(found.classes) == 2


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"window": (32, 32), "stride": (16, 16)}, "evaluation.window"),
        ({"flip": True}, "evaluation.flip"),
        ({"scales": (1.0, 0.5), "flip": True}, "evaluation.flip and evaluation.scales"),
    ],
)
def test_views_are_refused(changes, names):
    with pytest.raises(
        ConfigError, match=f"detection looks at an image once, and chooses windows itself; leave out {names}"
    ):
        check_protocol(protocol(**changes))


@pytest.mark.parametrize("name", ["rt_detr_v2", "d_fine", "deformable_detr"])
def test_images_with_fewer_places_than_queries_are_refused(make, name):
    model = make(name, queries=30)
    expected = (
        "an image of 32 x 32 pixels has 21 places for 30 queries; take larger images, or train with head.queries=21"
    )
    with pytest.raises(ImageSizeError, match=expected):
        TASK.predict(model, torch.zeros(1, 3, 20, 32), protocol())
    with pytest.raises(ImageSizeError, match=expected):
        TASK.loss(model, batch_of(32, 32, [[]], [[]]))


def test_padding_is_zero_and_at_the_right_and_bottom():
    image = torch.ones(1, 3, 33, 64)
    canvas = padded(image)
    assert canvas.shape == (1, 3, 64, 64)
    assert torch.equal(canvas[..., :33, :], image)
    assert not canvas[..., 33:, :].any()


def test_prediction_has_no_probabilities():
    image = np.zeros((32, 32, 3), np.uint8)
    space = label_space("cityscapes19")
    model = Says([[0.5, 0.5, 0.2, 0.2]], [[3.0]])
    said = TASK.predict(model, torch.zeros(1, 3, 32, 32), protocol())
    shown = TASK.prediction(said, image, space)
    assert isinstance(shown, TASK.prediction_type)
    assert shown.names == [space.classes[0]]
    with pytest.raises(ConfigError, match="detection has scores of boxes and no probabilities of pixels"):
        TASK.prediction(said, image, space, probabilities=True)
