"""Who may name a part from outside: the user always, a file of someone else's if the user allows it."""

import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from minorkey.catalog import Catalog
from minorkey.config import RunConfig, load_config, resolve, save_config
from minorkey.data.transforms import transform_own
from minorkey.errors import ConfigError, ModelError, OutsideError
from minorkey.labels import label_space
from minorkey.models.backbone import load_backbone
from minorkey.models.options import BackboneOptions
from minorkey.runs.assemble import open_sources, open_targets, open_unseen
from minorkey.runs.batches import BatchPredictor
from minorkey.runs.load import load
from minorkey.system.outside import given_by_user, outside_allowed, outside_faults, written_by_others
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.scored import metric_named

PARTS: Catalog[object] = Catalog("part", {}, "anything", lambda part: True)

DOORS = {
    "method": {"method": {"name": "mine.evil:thing"}},
    "head": {"head": {"name": "mine.evil:thing"}},
    "task": {"task": "mine.evil:thing"},
    "regime": {"regime": "mine.evil:thing", "target": ["world:fog"]},
    "teacher": {"teacher": {"name": "mine.evil:thing"}},
    "metric": {"evaluation": {"metric": "mine.evil:thing"}},
    "transform": {"transform": {"own": ["mine.evil:thing"]}},
    "backbone": {"backbone": {"name": "mine.evil:thing"}},
    "source": {"source": ["mine.evil:thing"]},
    "source with a part": {"source": [{"data": "mine.evil:thing:train", "weight": 1}]},
    "target": {"target": ["mine.evil:thing"], "regime": "self_training"},
    "unseen": {"unseen": ["mine.evil:thing:val"]},
    "corruption": {"unseen": ["world:night+mine.evil:thing@3"]},
}

NOT_NEEDED = {"transform", "source", "source with a part", "target", "unseen", "corruption"}
"""Doors whose parts a prediction does without."""


@pytest.fixture
def evil(write_module):
    write_module("evil", "thing = 5")


def _run_of_others(folder: Path, changes: dict, name: str = "config.yaml") -> Path:
    file = folder / name
    save_config(resolve("demo_quick"), file)
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **changes}))
    return file


def _changed(finished: RunFolder, folder: Path, changes: dict) -> Path:
    """A finished run with another configuration, without the checksums that would tell."""
    run = RunFolder(Path(shutil.copytree(finished.path, folder / "run")))
    run.config.write_text(yaml.safe_dump(yaml.safe_load(run.config.read_text()) | changes))
    cost = json.loads(run.cost.read_text())
    run.cost.write_text(json.dumps({key: cost[key] for key in cost.keys() - {"#checksums", "config_sha256"}}))
    return run.path


@pytest.mark.parametrize("door", DOORS)
def test_a_run_of_others_may_not_name_it(door, evil, tmp_path):
    file = _run_of_others(tmp_path, DOORS[door])
    with pytest.raises(
        ConfigError,
        match=r"config\.yaml names .* 'mine\.evil:thing'.*--allow-outside or, in a call, allow_outside=True",
    ):
        load_config(file)
    assert "mine.evil" not in sys.modules


@pytest.mark.parametrize("door", sorted(DOORS.keys() - NOT_NEEDED))
def test_unless_the_user_allows_it(door, evil, tmp_path):
    file = _run_of_others(tmp_path, DOORS[door])
    with outside_allowed(), pytest.raises(OutsideError, match=r"'mine\.evil:thing' is of type int; expected"):
        load_config(file)


@pytest.mark.parametrize("door", sorted(NOT_NEEDED))
def test_what_only_some_commands_need_is_imported_by_them(door, evil, tmp_path):
    file = _run_of_others(tmp_path, DOORS[door])
    with outside_allowed():
        config = load_config(file)
    assert "mine.evil" not in sys.modules
    with pytest.raises(OutsideError, match=r"'mine\.evil:thing' is of type int; expected"):
        _use(config)


def _use(config: RunConfig) -> None:
    sample = open_sources(config, label_space("street7")).readers[0][0]
    open_targets(config, label_space("street7"))
    open_unseen(config, label_space("street7"))
    transform_own(sample, config.transform, np.random.default_rng(0))


def test_a_model_predicts_without_the_data_that_it_was_trained_on(finished_run, tmp_path):
    run = _changed(finished_run, tmp_path, {"source": ["mine.gone:thing"], "unseen": ["mine.gone:thing:val"]})
    with pytest.raises(ConfigError, match="names data set 'mine.gone:thing'"):
        load(run)
    image = np.zeros((32, 64, 3), np.uint8)
    assert load(run, allow_outside=True).predict(image).labels.shape == (32, 64)


@pytest.mark.parametrize("door", DOORS)
def test_a_configuration_of_a_run_is_no_preset_of_the_user(door, evil, tmp_path):
    file = _run_of_others(tmp_path, DOORS[door])
    with pytest.raises(ConfigError, match=r"config\.yaml names .* 'mine\.evil:thing'.*--allow-outside"):
        resolve(file)
    with pytest.raises(ConfigError, match=r"config\.yaml names .* 'mine\.evil:thing'.*--allow-outside"):
        resolve(str(file), {"seed": 1})
    assert "mine.evil" not in sys.modules


def test_the_user_may_in_a_preset_of_his_and_in_a_call(evil, tmp_path):
    file = _run_of_others(tmp_path, DOORS["method"], name="mine.yaml")
    with pytest.raises(OutsideError, match="expected a MethodSpec"):
        resolve(file)
    with pytest.raises(OutsideError, match="expected a MethodSpec"):
        resolve("demo_quick", DOORS["method"])


def test_beside_a_run_of_others_the_user_may_still_name_his_own(evil, tmp_path):
    file = _run_of_others(tmp_path, {})
    config = load_config(file, DOORS["unseen"])
    with pytest.raises(OutsideError, match="'mine.evil:thing' is of type int"):
        open_unseen(config, label_space("street7"))


@pytest.mark.parametrize("given", ["camvid:val", "mine.evil:thing:val+fog@2", "camvid:val+mine.evil:thing@2"])
def test_what_is_taken_for_the_users_is_exact(given, evil, tmp_path):
    head = given if given == "camvid:val" else "mine.evil:val"
    file = _run_of_others(tmp_path, {"head": {"name": head}})
    with pytest.raises(ConfigError, match=rf"config\.yaml names head '{head}'"):
        load_config(file, {"unseen": given})


def test_what_the_user_has_named_is_his_in_files_as_well(evil):
    with written_by_others("their.yaml"):
        with pytest.raises(ConfigError, match=r"their\.yaml names part 'mine\.evil:thing'"):
            PARTS.resolve("mine.evil:thing")
        given_by_user(["camvid:val", "mine.evil:thing"])
        assert PARTS.resolve("mine.evil:thing") == 5
        with pytest.raises(ConfigError, match="names part"):
            PARTS.resolve("mine.evil:other")


def test_allowing_ends_with_its_block(evil):
    with outside_allowed(), outside_allowed(False):
        pass
    with written_by_others("their.yaml"), pytest.raises(ConfigError):
        PARTS.resolve("mine.evil:thing")


def test_a_fault_names_the_innermost_part_and_its_place(write_module):
    write_module("outer", "def call(f):\n    return f()\n")
    write_module("inner", "def fail():\n    raise KeyError('shape')\n")
    outer, inner = PARTS.resolve("mine.outer:call"), PARTS.resolve("mine.inner:fail")
    with pytest.raises(OutsideError) as error, outside_faults():
        outer(inner)
    expected = "part 'mine.inner:fail' failed: KeyError: 'shape' (inner.py, line 2); --debug shows its traceback"
    assert str(error.value) == expected
    assert isinstance(error.value.__cause__, KeyError)


def test_faults_of_ours_and_errors_of_one_line_stay_as_they_are(write_module):
    write_module("polite", "from minorkey.errors import DataError\ndef fail():\n    raise DataError('no image')\n")
    polite = PARTS.resolve("mine.polite:fail")
    with pytest.raises(KeyError), outside_faults():
        raise KeyError("ours")
    with pytest.raises(Exception, match="^no image$"), outside_faults():
        polite()


def test_scores_of_others_may_not_name_a_metric_or_a_task(evil):
    for names in (("miou", "mine.evil:thing"), ("mine.evil:thing", "segmentation")):
        with pytest.raises(ConfigError, match=r"^a file of scores names (task|metric) 'mine\.evil:thing'"):
            metric_named(*names)
    assert "mine.evil" not in sys.modules
    assert metric_named("miou", "segmentation").name == "mIoU"


def test_a_backbone_with_code_of_its_own_is_refused_unasked(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"model_type": "unheard_of", "auto_map": {"AutoConfig": "own.Config"}}')
    (tmp_path / "own.py").write_text("raise SystemExit('it ran')")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(ModelError, match="could not be loaded"):
        load_backbone(BackboneOptions(name=str(tmp_path)))


def test_workers_of_others_engines_are_told_what_is_allowed(evil, finished_run, tmp_path):
    run = _changed(finished_run, tmp_path, DOORS["head"])
    with pytest.raises(ConfigError, match="allow_outside=True"):
        BatchPredictor(run).predictor  # noqa: B018
    with pytest.raises(OutsideError, match="is of type int"):
        pickle.loads(pickle.dumps(BatchPredictor(run, allow_outside=True))).predictor  # noqa: B018
