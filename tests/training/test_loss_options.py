"""Terms of the loss and class weights of a run."""

import re

import pytest
from adapting import assert_same_training
from PIL import Image

from minorkey.config import load_config, resolve
from minorkey.errors import ConfigError, ModelError
from minorkey.reporting.runs import read_log
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder

QUICK = {"source": False, "pictures": 0, "images": 1}
HEAD = {"name": "semfpn", "channels": 8}


@pytest.fixture
def run(make_config, console, tmp_path):
    def run(name: str, steps: int = 2, **options) -> RunFolder:
        config = make_config(
            head=HEAD | options.pop("head", {}), training={"steps": steps}, evaluation=QUICK, **options
        )
        train(config, tmp_path / name, console=console)
        return RunFolder(tmp_path / name)

    return run


def test_terms_are_logged_by_name(run):
    run = run("run", head={"loss": ["cross_entropy", "dice", "focal"]})
    first = read_log(run.log)[0]
    assert {"segmentation", "dice", "focal"} < first.keys()
    assert first["loss"] == pytest.approx(first["segmentation"] + first["dice"] + first["focal"], abs=1e-5)
    assert 0 < first["focal"] < first["segmentation"]


def test_an_auxiliary_head_learns_by_them_too(run):
    run = run("run", head={"name": "upernet", "loss": "dice"})
    first = read_log(run.log)[0]
    assert first["segmentation"] < 1
    assert first["auxiliary"] == pytest.approx(0.4 * first["segmentation"], rel=0.5)


def test_inverse_frequencies_are_counted_once_and_saved_as_numbers(run, console, make_config, tmp_path):
    made = run("run", head={"class_weights": "inverse_frequency"})
    weights = load_config(made.config).head.class_weights
    assert len(weights) == 19
    told = re.search(r"class weights: road ([\d.]+), .*sky ([\d.]+)", console.file.getvalue())
    assert float(told[1]) == weights[0]
    assert weights[0] < 1 < max(weights)
    assert weights[16] == 1  # a train, of which there is none
    again = make_config(head=HEAD | {"class_weights": "inverse_frequency"}, training={"steps": 2}, evaluation=QUICK)
    before = len(console.file.getvalue())
    train(again, made.path, resume=True, console=console)
    assert "class weights" not in console.file.getvalue()[before:]
    by_hand = run("by_hand", head={"class_weights": weights})
    assert_same_training(made, by_hand)


def test_another_loss_goes_on_from_the_same_head(run, finished_run):
    head = load_config(finished_run.config).head.model_dump() | {"loss": ["dice"]}
    assert run("run", head=head, head_from=str(finished_run.path)).finished


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"head": {"name": "mask2former", "loss": ["dice"]}}, "mask2former learns masks by a loss of its own"),
        ({"head": {"name": "eomt", "class_weights": "inverse_frequency"}}, "eomt learns masks by a loss of its own"),
        ({"task": "detection", "head": {"class_weights": [1.0]}}, r"head\.class_weights is not for detection"),
        ({"task": "classification", "head": {"loss": "focal"}}, r"head\.loss is not for classification"),
        ({"head": {"loss": "dise"}}, "did you mean 'dice'"),
        ({"head": {"loss": []}}, "at least 1 item"),
    ],
)
def test_what_a_head_does_not_learn_by_is_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        resolve(None, {"source": "world:clear", **given})


def test_there_is_a_weight_for_each_class(run):
    with pytest.raises(ModelError, match=r"head\.class_weights has 2 numbers for 19 classes"):
        run("run", head={"class_weights": [1.0, 2.0]})


def test_images_of_a_class_are_weighed_by_inverse_frequency_too(make_config, console, tmp_path):
    for name, images in (("cat", 6), ("dog", 2)):
        for split in ("train", "val"):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            for index in range(images):
                Image.new("RGB", (40, 40), (20 * index, 90, 200)).save(
                    tmp_path / "pets" / split / name / f"{index}.png"
                )
    config = make_config(
        task="classification", label_space="cat, dog", head={"name": "pooled", "class_weights": "inverse_frequency"},
        source=str(tmp_path / "pets"), unseen=[], training={"steps": 1},
    )  # fmt: skip
    train(config, tmp_path / "run", console=console)
    weights = load_config(tmp_path / "run" / "config.yaml").head.class_weights
    assert weights == pytest.approx([8 / (2 * 6), 8 / (2 * 2)], rel=1e-3)
