"""Adapting to a target from the command line: what is read of it, what can be wrong with it, what is said."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from adapting import adapting, assert_same_training, read_log
from PIL import Image
from rich.console import Console

from minorkey.config import RunConfig, save_config
from minorkey.data.label_images import read_ids
from minorkey.errors import DataError
from minorkey.labels import label_space
from minorkey.runs.assemble import Sources, build_network, open_targets
from minorkey.runs.load import load
from minorkey.runs.material import Material
from minorkey.runs.pseudo_labelling import write_pseudo_labels
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder
from minorkey.system.sealed import read_sealed
from minorkey.tasks.balance import LEAST_SHARE
from minorkey.training.checkpoint import checkpoints

REGIMES = ["self_training", "transda"]


@pytest.fixture
def streets_config(make_config, street_folder, tmp_path) -> Callable[..., RunConfig]:
    """A run from one folder of streets to another, judged on the first."""
    source, target = str(street_folder("source")), str(street_folder("target"))

    def config(regime: str, **changes) -> RunConfig:
        settings = adapting(regime, **({"teacher": "adapter_ema", "target": target} | changes))
        settings["evaluation"] = {"source": True, "images": 1, "pictures": 0}
        return make_config(source=source, label_space="street7", unseen=[], **settings)

    return config


@pytest.fixture
def photos(street_folder, tmp_path) -> Path:
    """A target of images only; the second one is broken."""
    folder = Path(shutil.copytree(street_folder("many") / "images" / "train", tmp_path / "photos"))
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:60])
    return folder


@pytest.mark.parametrize("regime", REGIMES)
def test_labels_of_the_target_are_not_read(streets_config, console, tmp_path, regime):
    config = streets_config(regime, training={"steps": 2})
    train(config, tmp_path / "honest", console=console)
    assert "adapting to 4 images of " in console.file.getvalue()
    assert "without labels; labels of the target are used for judging only" in console.file.getvalue()
    for file in (tmp_path / "target" / "labels").rglob("*.png"):
        file.write_bytes(b"no image at all")
    train(config, tmp_path / "broken", console=console)
    assert_same_training(RunFolder(tmp_path / "broken"), RunFolder(tmp_path / "honest"))


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("snapshots", [0, 1])
def test_a_broken_target_image_ends_the_run_in_one_line(streets_config, command, photos, tmp_path, regime, snapshots):
    save_config(streets_config(regime, target=str(photos), training={"snapshots": snapshots}), tmp_path / "run.yaml")
    code, error = command("train", tmp_path / "run.yaml", "--out", tmp_path / "run")
    assert code == 2
    assert "Traceback" not in error
    line = error.strip().splitlines()[-1]
    assert line.startswith("minorkey: ")
    assert str(photos / "1.png") in line
    assert "broken image" in line


@pytest.mark.parametrize("regime", REGIMES)
def test_broken_target_images_are_left_out_on_request_and_said_once(streets_config, photos, console, tmp_path, regime):
    config = streets_config(regime, target=str(photos), training={"skip_broken": True, "snapshots": 1})
    train(config, tmp_path / "run", console=console)
    folder = RunFolder(tmp_path / "run")
    rounds = [folder] if regime == "self_training" else [folder.earlier_round(0), folder]
    for place in rounds:
        (skipped,) = [record for record in read_log(place) if "skipped" in record]
        assert skipped.keys() == {"step", "skipped"}
        assert str(photos / "1.png") in skipped["skipped"]
        assert "was read in its place" in skipped["skipped"]
    said = [line for line in console.file.getvalue().splitlines() if line.startswith("skipped: ")]
    assert len(said) == len(rounds)
    if regime == "transda":
        names = sorted(path.name for path in folder.pseudo_labels.rglob("*.png"))
        assert names == ["0.png", "2.png", "3.png"]


def test_what_was_skipped_is_in_the_log_before_a_checkpoint(streets_config, photos, console, tmp_path):
    """A run that is killed after the checkpoint, and before its next log line, would not say it again."""
    training = {"steps": 4, "log_every": 100, "checkpoint_every": 2, "skip_broken": True}
    train(streets_config("self_training", target=str(photos), training=training), tmp_path, console=console)
    (skipped,) = [record for record in read_log(RunFolder(tmp_path)) if "skipped" in record]
    assert skipped["step"] == 2, "the first two batches have all four images"


@pytest.mark.parametrize("skip", [False, True])
def test_a_broken_image_among_those_to_label(streets_config, photos, console, tmp_path, skip):
    """Also where no batch has come to it: the run ends, or says on request what goes without pseudo-labels."""
    broken = photos / "1.png"
    shutil.move(broken, tmp_path / "away.png")
    config = streets_config("transda", target=str(photos), training={"steps": 1, "skip_broken": skip})
    train(config, tmp_path / "run", console=console)
    shutil.move(tmp_path / "away.png", broken)
    folder = RunFolder(tmp_path / "run")
    material = Material(label_space("street7"), Sources([], None), open_targets(config, label_space("street7")))
    arguments = (folder.earlier_round(0), material, tmp_path / "labels", console)
    if not skip:
        with pytest.raises(DataError, match="broken image"):
            write_pseudo_labels(*arguments)
        return
    write_pseudo_labels(*arguments)
    assert f"without pseudo-labels: {broken}" in console.file.getvalue()
    assert sorted(path.name for path in (tmp_path / "labels").rglob("*.png")) == ["0.png", "2.png", "3.png"]


@pytest.mark.parametrize("balance", ["confidence", "prior"])
def test_pseudo_labels_are_balanced_over_all_target_images(streets_config, console, tmp_path, balance):
    """By the formulas, from what the round before says of the images; the file beside them says by what."""
    options = {"rounds": 1, "balance": balance}
    config = streets_config("transda", transda=options, training={"steps": 1})
    train(config, tmp_path / "run", console=console)
    folder, classes = RunFolder(tmp_path / "run"), label_space("street7").classes
    files = sorted(folder.pseudo_labels.rglob("*.png"))
    images = [tmp_path / "target" / "images" / "train" / file.name for file in files]
    predictor = load(folder.earlier_round(0).path, device="cpu")
    pixels = np.concatenate([predictor.predict(i, probabilities=True).probabilities.reshape(7, -1).T for i in images])
    said = pixels.argmax(1)
    if balance == "confidence":
        factors = [1 / pixels[said == k, k].mean() if (said == k).any() else 1 for k in range(7)]
    else:  # sources show roads and cars alone, and cars are vehicles
        truth = [read_ids(file) for file in (tmp_path / "source" / "labels" / "train").glob("*.png")]
        shown = dict.fromkeys(classes, 0.0) | {
            "road": np.mean(np.array(truth) == 0),
            "vehicle": np.mean(np.array(truth) == 1),
        }
        factors = [(shown[name] + LEAST_SHARE) / (pixels[:, k].mean() + LEAST_SHARE) for k, name in enumerate(classes)]
    found = read_sealed(folder.pseudo_labels / "balance.json").values
    assert list(found) == list(classes)
    assert list(found.values()) == pytest.approx(factors, rel=1e-4)
    labels = np.concatenate([read_ids(file).ravel() for file in files])
    assert np.mean(labels == (pixels * factors).argmax(1)) > 0.999
    assert (labels != said).any()


def test_targets_of_one_name_keep_their_own_pseudo_labels(streets_config, photos, console, tmp_path):
    """Equal names of folders and images; by the old labels of another image, one of another size could not be read."""
    (photos / "1.png").unlink()
    for place, size in (("a", (48, 32)), ("b", (40, 32))):
        (tmp_path / place / "images").mkdir(parents=True)
        for image in photos.glob("*.png"):
            Image.open(image).resize(size).save(tmp_path / place / "images" / image.name)
    targets = [str(tmp_path / place / "images") for place in ("a", "b")]
    config = streets_config("transda", target=targets, training={"steps": 2, "snapshots": 1})
    train(config, tmp_path / "run", console=console)
    folder = RunFolder(tmp_path / "run")
    sizes = {path.name: Image.open(path / "0.png").size for path in folder.pseudo_labels.iterdir() if path.is_dir()}
    assert sizes == {"images": (48, 32), "images-2": (40, 32)}
    pictured = {path.parent.parent.name for path in folder.pseudo_label_pictures.rglob("image.png")}
    assert pictured == {"images", "images-2"}


def _collapsing(streets_config, root: Path, training: dict) -> RunConfig:
    """A source of two classes, learned fast, of which a target of one colour gets only one."""
    for file in (root / "target" / "images").rglob("*.png"):
        Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(file)
    head = {"name": "semfpn", "channels": 8}
    return streets_config("self_training", training=training | {"lr": 0.1}, head=head, teacher="self")


def test_a_collapse_is_said_once_and_the_last_checkpoint_before_it_kept(streets_config, console, tmp_path):
    training = {"steps": 10, "warmup": 3, "checkpoint_every": 2}
    config = _collapsing(streets_config, tmp_path, training)
    train(config, tmp_path / "run", console=console)
    folder = RunFolder(tmp_path / "run")
    (collapse,) = [record for record in read_log(folder) if "collapse" in record]
    assert collapse.keys() == {"step", "collapse"}
    assert 3 < collapse["step"] < 8, "after the warm-up, and before the end"
    before = 2 * ((collapse["step"] - 1) // 2)
    kept = folder.checkpoints / f"good-step-{before:07d}"
    (said,) = [line for line in console.file.getvalue().splitlines() if line.startswith("collapse: ")]
    assert f"'{collapse['collapse']}' is " in said
    assert f"The last good checkpoint is kept in '{kept}'" in said
    assert json.loads((kept / "state.json").read_text())["step"] == before
    assert [path.name for path in checkpoints(folder.checkpoints)] == ["step-0000008", "step-0000010"]
    _resumed_after_the_collapse(config, folder, kept)


def _resumed_after_the_collapse(config: RunConfig, folder: RunFolder, kept: Path) -> None:
    """It is not said again, and what was kept stays."""
    for path in (folder.metrics, folder.cost):
        path.unlink()
    shutil.rmtree(folder.checkpoints / "step-0000010")
    console = Console(file=io.StringIO(), width=200)
    train(config, folder.path, resume=True, console=console)
    assert "collapse: " not in console.file.getvalue()
    assert (kept / "state.json").is_file()
    assert len([record for record in read_log(folder) if "collapse" in record]) == 1


def test_collapse_before_any_checkpoint(streets_config, console, tmp_path):
    config = _collapsing(streets_config, tmp_path, {"steps": 8, "checkpoint_every": 100})
    train(config, tmp_path / "run", console=console)
    (said,) = [line for line in console.file.getvalue().splitlines() if line.startswith("collapse: ")]
    assert said.endswith("No checkpoint is from before it")
    assert not list((tmp_path / "run" / "checkpoints").glob("good-*"))


TARGET = "target=world:night"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([TARGET], "target is given, but regime is supervised; set regime to self_training or transda"),
        (["regime=transda"], "regime transda adapts to a target; name one, e.g. target=path/to/images"),
        (
            [TARGET, "regime=self_training", "training.shard=true"],
            "training.shard does not go with regime self_training, whose teacher swaps weights",
        ),
        (
            [TARGET, "regime=self_training", "training.steps=5", "self_training.warmup=5"],
            "self_training.warmup is 5 of 5 steps: nothing is left to adapt in; make it shorter",
        ),
        (
            ["head=upernet", "training.batch_size=1"],
            "training.batch_size is 1, but head upernet normalises over the batch; give it 2 or more",
        ),
        (
            ["training.choose=teacher"],
            "training.choose is teacher, but a supervised training has none; use last or ema",
        ),
        (
            [TARGET, "regime=selftraining"],
            "regime is 'selftraining'; did you mean 'self_training'? Known: supervised, self_training, transda",
        ),
        (
            [TARGET, "regime=transda", "teacher=emma"],
            "teacher.name is 'emma'; did you mean 'ema'? Known: ema, self, adapter_ema, base",
        ),
        ([TARGET, "regime=transda", "teacher.momentum=1"], "teacher.momentum is 1: Input should be less than 1"),
        (
            [TARGET, "regime=transda", "target_transform.crop=[24, 32]", "transform.crop=[32, 32]"],
            "target_transform.crop is 24x32, but transform.crop 32x32; make them the same",
        ),
        (
            [TARGET, "regime=transda", "target_transform.corp=[32, 32]"],
            "unknown key 'target_transform.corp'; did you mean 'target_transform.crop'?",
        ),
        (
            ["target=[{data: photos, wieght: 2}]", "regime=transda"],
            "unknown key 'target.0.wieght'; did you mean 'target.0.weight'?",
        ),
        ([TARGET, "regime=transda", "transda.rouns=1"], "unknown key 'transda.rouns'; did you mean 'transda.rounds'?"),
        (["regime=transda", "target=nowhere/at/all"], "nowhere/at/all"),
    ],
)
def test_settings_that_do_not_go_together(make_config, command, tmp_path, overrides, expected):
    save_config(make_config(), tmp_path / "run.yaml")
    code, error = command("train", tmp_path / "run.yaml", *overrides, "--out", tmp_path / "run")
    assert code == 2
    line = error.strip().splitlines()[-1]
    assert line.startswith("minorkey: ")
    assert expected in line
    if "nowhere/at/all" not in expected:
        assert line.removeprefix("minorkey: ").startswith(expected)
    assert not (tmp_path / "run" / "log.jsonl").exists()


@pytest.mark.parametrize("teacher", ["ema", "adapter_ema"])
def test_the_deployed_weights_are_the_teachers(make_config, console, tmp_path, teacher):
    """With a momentum of nearly 1 the teacher stays at its first values, and the run ends as it began."""
    options = {"name": teacher, "momentum": 1 - 1e-9, "ramp": False, "buffers": "student"}
    changes = adapting("self_training", teacher, head={"name": "semfpn", "channels": 8})
    changes["teacher"] = options
    train(make_config(**changes), tmp_path / "run", console=console)
    config = make_config(head=changes["head"])
    network = build_network(config, load(tmp_path / "run", device="cpu").space)
    expected, found = network.model.state_dict(), load(tmp_path / "run", device="cpu").model.state_dict()
    assert found.keys() == expected.keys()
    assert max(float((found[name] - value).abs().max()) for name, value in expected.items()) < 1e-5


def test_features_are_compared_with_the_pretrained_backbone_also_after_a_start_from_other_weights(
    make_config, console, tmp_path
):
    settings = adapting("self_training", "base", training={"steps": 1})
    train(make_config(**settings), tmp_path / "pretrained", console=console)
    trained = adapting("self_training", "adapter_ema", training={"steps": 3, "backbone_lr": 0.1})
    train(make_config(**trained), tmp_path / "trained", console=console)
    train(make_config(**settings, start_from=str(tmp_path / "trained")), tmp_path / "then", console=console)
    distances = [read_log(RunFolder(tmp_path / name))[0]["feature_distance_source"] for name in ("pretrained", "then")]
    assert distances[0] < 1e-6
    assert distances[1] > 1e-4


def test_a_round_is_not_resumed_by_itself(make_config, command, console, tmp_path):
    train(make_config(**adapting("transda", "self", training={"steps": 1})), tmp_path / "run", console=console)
    code, error = command("train", "--resume", tmp_path / "run" / "rounds" / "0")
    assert code == 2
    assert (
        f"is a round of the run '{tmp_path / 'run'}'; finish that by `minorkey train --resume {tmp_path / 'run'}`"
        in error
    )
