"""A task unlike any shipped one: depth in metres, lower is better, no classes; its head and its metric are its own."""

import json

import numpy as np
import pytest
from PIL import Image

from minorkey.errors import ConfigError, OutsideError
from minorkey.reporting.page import report
from minorkey.runs.evaluate import evaluate
from minorkey.runs.load import load
from minorkey.runs.train import train

DEPTH = """
from dataclasses import dataclass, replace
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from minorkey.models.build import PyramidHead, head_catalog
from minorkey.models.heads.segmentation.dense import DenseSegmenter, DenseSegmenterConfig
from minorkey.system.storage import write_json
from minorkey.tasks.base import Task
from minorkey.tasks.image_scores import mean_over_images
from minorkey.tasks.metric import Metric
from minorkey.tasks.prediction import Prediction

FAR = 100.0

class DepthConfig(DenseSegmenterConfig):
    model_type = "mine_depth"

class Finest(nn.Conv2d):
    def forward(self, features):
        return super().forward(features[0])

class DepthModel(DenseSegmenter):
    config_class = DepthConfig
    @staticmethod
    def build_head(config, in_channels):
        return Finest(in_channels[0], 1, 1)

@dataclass(frozen=True)
class DepthPrediction(Prediction):
    folder, suffix = "depth", ".json"
    metres: np.ndarray
    def draw(self):
        return Image.fromarray(np.uint8(np.clip(self.metres / FAR, 0, 1) * 255))
    def save(self, path):
        write_json(path, self.metres.round(3).tolist())

def rmse(prediction, sample):
    return np.sqrt(np.mean((prediction.metres - np.minimum(sample.depth, FAR)) ** 2))

def build(features, num_labels, channels, options):
    return DepthModel(DepthConfig(backbone_config=features))

class Depth(Task):
    name, annotation, default_head = "mine.depth:Depth", "pixels", "line"
    heads = head_catalog({"line": PyramidHead(build=build)})
    metrics = {"rmse": Metric("RMSE", "Of an image.", mean_over_images(rmse), unit="m", higher_is_better=False)}
    prediction_type = DepthPrediction
    def crop(self, sample, config, rng, wanted=None):
        height, width = config.crop
        return replace(sample, image=sample.image[:height, :width], depth=sample.depth[:height, :width])
    def collate(self, samples, size):
        maps = [np.full(size, FAR, np.float32) if s.depth is None else np.minimum(s.depth, FAR) for s in samples]
        return torch.from_numpy(np.stack(maps))
    def loss(self, model, batch, weights=None):
        return {"depth": F.l1_loss(model(pixel_values=batch.pixel_values).logits[:, 0], batch.labels)}
    def predict(self, model, pixel_values, protocol, window_batch=8):
        return model(pixel_values=pixel_values).logits[:, 0]
    def start(self, model, pixel_values, protocol, window_batch=8):
        return list(self.predict(model, pixel_values, protocol))
    def finish(self, started, image, space):
        return DepthPrediction(started.float().cpu().numpy())
    def prediction(self, said, image, space, probabilities=False):
        return self.finish(said[0], image, space)
"""


def test_a_task_of_ones_own_trains_is_scored_reported_and_predicts(write_module, make_config, tmp_path):
    write_module("depth", DEPTH)
    config = make_config(task="mine.depth:Depth", head={"name": "line"}, evaluation={"pictures": 1})
    scores = train(config, tmp_path / "run")
    assert [score.domain for score in scores.domains] == ["clear", "night"]
    assert scores.metric.name == "RMSE"
    night = scores.domains[1]
    assert night.by_class == {}
    assert 0 < night.interval[0] <= night.score <= night.interval[1]
    assert night.score > 1, "it is in metres"
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["task"] == "mine.depth:Depth"
    assert evaluate(tmp_path / "run").domains == scores.domains
    page = report(tmp_path / "run").read_text()
    assert "RMSE" in page
    assert "mIoU" not in page
    assert load(tmp_path / "run").predict(_image(tmp_path)).metres.shape == (32, 64)


def _image(folder):
    Image.fromarray(np.zeros((32, 64, 3), np.uint8)).save(folder / "image.png")
    return folder / "image.png"


def test_what_is_wrong_with_a_task_is_one_line(write_module, make_config, tmp_path):
    write_module("depth", DEPTH.replace("F.l1_loss(model(", "F.l1_loss(models("))
    with pytest.raises(ConfigError, match="head semfpn does not do"):
        make_config(task="mine.depth:Depth")
    config = make_config(task="mine.depth:Depth", head={"name": "line"})
    with pytest.raises(OutsideError, match=r"^task 'mine\.depth:Depth' failed: NameError: .*depth\.py, line"):
        train(config, tmp_path / "run")
