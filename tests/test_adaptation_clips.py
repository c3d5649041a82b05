"""Adapting to clips: frames of them as the target, read by workers, the same ones each time."""

import pytest
from adapting import adapting, assert_same_training
from clips import write_clip

from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder


@pytest.mark.parametrize("regime", ["self_training", "transda"])
def test_clips_are_adapted_to(make_config, street_folder, console, tmp_path, regime):
    clips = tmp_path / "clips"
    write_clip(clips / "one.mp4", 20)
    write_clip(clips / "two.mkv", 20)
    settings = adapting(regime, teacher="adapter_ema", target=f"{clips}?every=5", training={"steps": 2})
    settings["evaluation"] = {"source": True, "images": 1, "pictures": 0}
    config = make_config(source=str(street_folder("source")), label_space="street7", unseen=[], **settings)
    train(config, tmp_path / "alone", console=console)
    assert f"adapting to 8 images of {clips}?every=5" in console.file.getvalue()
    assert "8 of 40 frames of 2 clips are taken, one of 5" in console.file.getvalue()
    workers = config.training.model_copy(update={"workers": 2})
    train(config.model_copy(update={"training": workers}), tmp_path / "workers", console=console)
    assert_same_training(RunFolder(tmp_path / "workers"), RunFolder(tmp_path / "alone"))
