"""Two batches of one image, accumulated, make the step of one batch of two, whatever the loss is taken over."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.optim import SGD

from minorkey.models.heads import points
from minorkey.models.heads.segmentation import masks
from minorkey.runs import fit as fitting
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder
from minorkey.training.optim import param_groups

PLAIN = {"scale_ratios": [1.0], "flip": 0.0, "photometric": False, "crop": [32, 64], "max_class_share": 1.0}
MASKS = {"name": "mask2former", "channels": 32, "queries": 4, "points": 64, "encoder_layers": 1, "decoder_layers": 1}
BOXES = {"name": "deformable_detr", "channels": 32, "queries": 8, "encoder_layers": 1, "decoder_layers": 2}
CASES: dict[str, dict[str, Any]] = {
    "pixels": {"head": {"name": "semfpn", "channels": 8}},
    "masks": {"head": MASKS},
    "boxes": {"task": "detection", "head": BOXES, "source": "world:clear", "label_space": "weather7"}
    | {"world": {"size": [128, 64], "train_count": 6, "eval_count": 1}, "transform": PLAIN | {"crop": [64, 128]}},
    "source of an adaptation": {
        "head": {"name": "semfpn", "channels": 8},
        "regime": "self_training",
        "self_training": {"warmup": 3},
        "target": "world:night",
    },
}
STEPS = 3


@pytest.fixture
def streets(tmp_path):
    """Six images with 0 to 5 classes, each of as many rows as it has classes."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (tmp_path / "streets" / kind / "train").mkdir(parents=True)
    for index, classes in enumerate([5, 1, 0, 2, 4, 3]):
        labels = np.full((32, 64), 255, np.uint8)
        labels[: 2 * classes] = rng.permutation(classes).repeat(2)[:, None] if classes else 255
        Image.fromarray(labels).save(tmp_path / "streets" / "labels" / "train" / f"{index}.png")
        pixels = rng.integers(0, 256, (32, 64, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "streets" / "images" / "train" / f"{index}.png")
    names = "{0: road, 1: sidewalk, 2: building, 3: wall, 4: fence, 255: ignore}"
    (tmp_path / "streets" / "dataset.yaml").write_text(f"ids: {names}\n")
    return tmp_path / "streets"


@pytest.fixture
def nothing_random(monkeypatch):
    """No dropout, and the same points for every image and mask: what is drawn depends on the batch."""
    drawn = torch.rand(2**10, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def same_points(rows: int, count: int, device: torch.device) -> torch.Tensor:
        return drawn[:count].expand(rows, -1, -1)

    monkeypatch.setattr(masks, "random_points", same_points)
    monkeypatch.setattr(points, "random_points", same_points)
    monkeypatch.setattr(torch.nn.functional, "dropout", lambda values, *_, **__: values)


@pytest.mark.parametrize("case", CASES)
def test_accumulated_batches_are_one_batch(case, streets, make_config, console, tmp_path, nothing_random, monkeypatch):
    monkeypatch.setattr(fitting, "build_optimizer", lambda model, *_: SGD(param_groups(model, lr=1.0), lr=1.0))

    def trained(batch_size: int, accumulate: int) -> dict[str, torch.Tensor]:
        training = {"steps": STEPS + 1, "batch_size": batch_size, "accumulate": accumulate, "lr": 1.0, "snapshots": 0}
        training |= {"schedule": "constant", "checkpoint_every": STEPS, "anneal_weight_decay": False, "clip_norm": 0.1}
        base = {"source": str(streets), "unseen": "world:night", "transform": PLAIN, "method": {"name": "lora"}}
        base["evaluation"] = {"source": False, "images": 1, "pictures": 0}
        config = make_config(**base | CASES[case] | {"training": training})
        folder = RunFolder(tmp_path / f"{batch_size}")
        train(config, folder.path, console=console)
        state = folder.checkpoints / f"step-{STEPS:07d}"
        return load_file(state / "head.safetensors") | load_file(state / "adapter.safetensors")

    whole, parts = trained(2, 1), trained(1, 2)
    # Together: some biases have no gradient but rounding, and started at 0.
    apart = torch.cat([(parts[name] - value).flatten() for name, value in whole.items()]).norm()
    assert apart < 1e-6 * torch.cat([value.flatten() for value in whole.values()]).norm()
