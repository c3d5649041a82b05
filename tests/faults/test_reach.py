"""What commands reach: they write into the folder they are given, start no program and connect to nothing."""

import json
from pathlib import Path

import pytest
from fault_trials.campaign import import_everything
from fault_trials.child import run
from fault_trials.material import Material
from fault_trials.sandbox import Sandbox, changes, state
from fault_trials.watch import Watch


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> Material:
    import_everything()  # an import keeps what it compiles, and looks at the machine
    return Material(tmp_path_factory.mktemp("material"))


COMMANDS = {
    "train": ["train", "CONFIG", "--out", "out/it"],
    "resume": ["train", "--resume", "run"],
    "evaluate": ["evaluate", "run", "--unseen", "world:fog", "--out", "out/it"],
    "predict": ["predict", "run", "PHOTOS", "--out", "out/it"],
    "report": ["report", "run", "--out", "out/page.html"],
    "export adapter": ["export", "run", "--out", "out/it"],
    "export model": ["export", "run", "--to", "model", "--out", "out/it"],
    "data check": ["data", "check", "STREETS", "--workers", "0", "--out", "out/it"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_writes_into_its_folder_and_connects_to_nothing(name, material, tmp_path):
    box = Sandbox(tmp_path / "trial")
    box.copy(material.run("segmentation"), "run")
    places = {"CONFIG": material.config_file("segmentation"), "PHOTOS": material.photos, "STREETS": material.streets}
    out = box.work / "out"
    before = state(box.root, [out])
    inside = [out, box.root / "home", box.root / "tmp"]
    end = run([str(places.get(word, word)) for word in COMMANDS[name]], box.work, watch=Watch(inside))
    assert (end.code, end.seen) == (0, []), end.text
    assert changes(before, state(box.root, inside)) == []
    assert name == "resume" or any(out.rglob("*"))


def test_a_remote_script_of_a_backbone_is_not_run(material, tmp_path):
    box = Sandbox(tmp_path / "trial")
    folder = box.copy(material.backbone, "backbone")
    marker = box.outside / "executed"
    (folder / "modeling_evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: pass\n")
    file = folder / "config.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"model_type": "evil", "auto_map": {"AutoConfig": "modeling_evil.Evil"}}))
    end = run(
        ["train", str(material.config_file("segmentation")), "--backbone", "backbone", "--out", "out/it"], box.work
    )
    assert end.code == 2, end.text
    assert Path(folder).name in end.last
    assert not marker.exists()
