"""Claims: the pretraining can be repeated and stopped, and asks for what the renderer knows, in the views' frame."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import PvtV2Backbone

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture(scope="module", autouse=True)
def importable():
    sys.path.insert(0, str(SCRIPTS))
    yield
    sys.path.remove(str(SCRIPTS))


def run(monkeypatch: pytest.MonkeyPatch, out: Path, *options: str) -> None:
    import pretrain_backbone

    given = ["--out", str(out), "--steps", "3", "--save-every", "2", "--batch", "1", "--warmup", "2", *options]
    monkeypatch.setattr(sys, "argv", ["pretrain_backbone.py", *given])
    pretrain_backbone.train(pretrain_backbone.parse_arguments())


@pytest.mark.thorough
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pretrain_backbone

    monkeypatch.setattr(pretrain_backbone, "VALIDATION_BATCHES", 1)
    run(monkeypatch, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(pretrain_backbone, "save_backbone", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(patch, tmp_path / "stopped")
    run(monkeypatch, tmp_path / "stopped", "--resume")
    whole, stopped = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert whole.keys() == stopped.keys()
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    assert not (tmp_path / "stopped" / "checkpoint.safetensors").exists()


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_is_saved_is_a_backbone_in_half_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pretrain_backbone

    from minorkey.models.backbone import load_backbone
    from minorkey.models.options import BackboneOptions

    monkeypatch.setattr(pretrain_backbone, "VALIDATION_BATCHES", 1)
    run(monkeypatch, tmp_path)
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {torch.float16}
    backbone = load_backbone(BackboneOptions(name=str(tmp_path)))
    assert backbone.mean == (0.5, 0.5, 0.5)
    assert PvtV2Backbone.from_pretrained(tmp_path).dtype is torch.float32
    sizes = [feature.shape[-2:] for feature in backbone.network(torch.zeros(1, 3, 64, 128)).feature_maps]
    assert sizes == [(16, 32), (8, 16), (4, 8), (2, 4)]


def test_targets_are_in_the_frame_of_the_views() -> None:
    from pretraining.views import SIZE, WORLD_SEED, Crop, PairedViews

    from minorkey.world.render import render_with_surfaces

    seed, index = 3, 5
    _, targets = PairedViews(seed, index, index + 1)[0]
    _, again = PairedViews(seed, 0, 9)[index]
    assert all(torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in zip(targets, again, strict=True))
    _, surfaces = render_with_surfaces(WORLD_SEED + seed, index, ["clear"], SIZE)
    crop = Crop(rng_after_domains(seed, index))
    sky = crop.map(np.isinf(surfaces.depth), 4)
    assert torch.equal(targets.inverse_depth[0] == -1, torch.from_numpy(sky))
    assert bool((targets.kinds.sum(0) == 16).all())
    direction = crop.map(surfaces.normal, 4)[..., 0] * (-1 if crop.mirrored else 1)
    assert torch.equal(targets.normal[0], torch.from_numpy(direction))


def rng_after_domains(seed: int, index: int) -> np.random.Generator:
    from pretraining.views import SEEN

    rng = np.random.default_rng((seed, index))
    rng.choice(SEEN, size=2, replace=False)
    return rng


def test_a_mirrored_crop_mirrors_images_and_maps_alike() -> None:
    from pretraining.views import SIZE, Crop

    crop = next(crop for seed in range(20) if (crop := Crop(np.random.default_rng(seed))).mirrored)
    ramp = np.tile(np.arange(SIZE[0], dtype=np.uint8)[None, :, None], (SIZE[1], 1, 3))
    difference = crop.image(ramp)[..., 0].astype(int) - crop.map(ramp)[..., 0].astype(int)
    assert abs(difference).max() <= 1
    assert crop.map(ramp)[0, 0, 0] > crop.map(ramp)[0, -1, 0]
