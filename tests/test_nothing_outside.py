"""Nothing is written outside, nothing outside is read, and nothing is executed, whatever data and files are called."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from minorkey.data.readers import open_datasets
from minorkey.data.readers.pseudo_labelled import label_folders, pseudo_label_file
from minorkey.errors import DataError, MinorkeyError, ModelError
from minorkey.labels import label_space
from minorkey.models.backbone import load_backbone
from minorkey.models.options import BackboneOptions


@pytest.mark.thorough
def test_a_hostile_data_set_from_check_to_export(backbone_folder, tmp_path):
    home = tmp_path / "out" / "home"
    home.mkdir(parents=True)
    places = dict.fromkeys(
        ("HOME", "TMPDIR", "MPLCONFIGDIR", "HF_HOME", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR"), str(home)
    )
    script = Path(__file__).with_name("hostile.py")
    done = subprocess.run(
        [sys.executable, "-B", script, tmp_path, backbone_folder],
        env=os.environ | places,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"written": [], "executed": [], "codes": [0] * 6}, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out"}
    assert len(list((tmp_path / "out" / "again" / "figures" / "samples").rglob("image.png"))) == 3
    card = (tmp_path / "out" / "exported" / "README.md").read_text()
    assert "\x1b" not in card


def test_pseudo_labels_lie_below_their_folder(tmp_path):
    class Target:
        domain = "../../x"

    folders = label_folders([Target(), Target()], tmp_path)
    files = [pseudo_label_file(folder, key) for folder in folders for key in ("/abs", "../up", "a/b")]
    assert len({file.resolve() for file in files}) == 6
    assert all(file.resolve().is_relative_to(tmp_path.resolve()) for file in files)


LEADING_OUT = {
    "images": "images: ../secret/{key}.png\nids: {0: road, 255: ignore}\n",
    "images, absolute": "images: SECRET/{key}.png\nids: {0: road, 255: ignore}\n",
    "labels": "labels: ../secret/{key}.png\nids: {0: road, 255: ignore}\n",
    "a split": "splits: {train: ../../secret}\nids: {0: road, 255: ignore}\n",
    "a domain": "images: images/{domain}/{key}.png\ndomains: {a: ../../secret}\nids: {0: road, 255: ignore}\n",
    "boxes": "boxes: yolo\nimages: images/train/{key}.png\nannotations: ../secret/{key}.txt\nclasses: [car]\n",
    "a list": "boxes: voc\nimages: images/train/{key}.png\nlists: ../secret/{split}.txt\nclasses: [car]\n",
    "a table": "table: ../secret/a.csv\n",
}


@pytest.mark.parametrize("case", LEADING_OUT)
def test_a_data_set_is_read_below_its_folder_only(case, street_folder, tmp_path):
    folder, secret = street_folder(), tmp_path / "secret"
    secret.mkdir()
    for name in "0123":
        Image.fromarray(np.zeros((32, 48), np.uint8)).save(secret / f"{name}.png")
        (secret / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (secret / "train.txt").write_text("0\n1\n")
    (secret / "a.csv").write_text("file,category\nimages/train/0.png,a\n")
    (folder / "dataset.yaml").write_text(LEADING_OUT[case].replace("SECRET", str(secret)))
    kind = {"boxes": "boxes", "a list": "boxes", "a table": "category"}.get(case, "pixels")
    with pytest.raises(DataError, match="leads out of the data set, whose files are all below its folder"):
        open_datasets(f"{folder}:train", role="source", label_space=label_space("cityscapes19"), annotation=kind)


def test_links_of_the_user_are_followed(street_folder, tmp_path):
    folder = street_folder()
    (folder / "images").rename(tmp_path / "disk")
    (folder / "images").symlink_to(tmp_path / "disk")
    (tmp_path / "linked").symlink_to(folder)
    (reader,) = open_datasets(f"{tmp_path / 'linked'}:train", role="source", label_space=label_space("cityscapes19"))
    assert reader[3].image.shape == (32, 48, 3)


ASKING = {
    "a kernel": {"_attn_implementation": "someone/kernel"},
    "a kernel in a part": {"part_config": {"attn_implementation": "kernels-community/flash-attn"}},
    "quantised weights": {"quantization_config": {"quant_method": "bitsandbytes"}},
    "another file": {"transformers_weights": "../other.safetensors"},
    "timm's weights": {"model_type": "timm_backbone", "backbone": "hf-hub:someone/x", "use_pretrained_backbone": True},
}


@pytest.mark.parametrize("case", ASKING)
def test_a_backbone_asks_for_nothing_beyond_its_form(case, make_backbone):
    folder = make_backbone("tiny")
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | ASKING[case]))
    with pytest.raises(ModelError, match=r"its config\.json has .* which asks for .*; only plain safetensors weights"):
        load_backbone(BackboneOptions(name=str(folder)))


def test_code_beside_a_backbone_is_not_run(make_backbone):
    folder = make_backbone("tiny")
    content = json.loads((folder / "config.json").read_text())
    content["auto_map"] = {"AutoConfig": "evil.Config", "AutoBackbone": "evil.Backbone"}
    (folder / "config.json").write_text(json.dumps(content))
    (folder / "evil.py").write_text("raise SystemExit('it ran')\n")
    assert load_backbone(BackboneOptions(name=str(folder))).network.config.hidden_size == 32


def test_an_adapter_is_no_backbone(make_backbone):
    folder = make_backbone("tiny")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "someone/else"}))
    save_file({}, folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="it is an adapter, which names another model"):
        load_backbone(BackboneOptions(name=str(folder)))


ABSURD = {
    "training.batch_size": 10**9,
    "training.accumulate": 10**9,
    "training.workers": 10**6,
    "evaluation.batch_size": 10**9,
    "evaluation.window": [10**7, 10**7],
    "evaluation.detections": 10**9,
    "transform.crop": [10**7, 10**7],
    "transform.scale_ratios": [10**7],
    "world.size": [10**7, 10**7],
    "head.queries": 10**9,
    "head.channels": 10**9,
    "method.rank": 10**9,
    "backbone.image_size": 10**7,
}


@pytest.mark.parametrize("key", ABSURD)
def test_numbers_that_no_memory_holds(key):
    from minorkey.config import parse_overrides, resolve

    with pytest.raises(MinorkeyError, match=r"less than or equal to \d+"):
        resolve("demo_quick", parse_overrides([f"{key}={json.dumps(ABSURD[key])}"]))
