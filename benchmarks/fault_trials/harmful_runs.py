"""Runs, adapters and backbones of others that mean harm: code by name, pickles, links, headers, markup."""

import json
import os
import pickle
import random
import struct
from typing import Any

import yaml

from fault_trials.attack import EVIL, MARKUP, Attack, Layout
from fault_trials.bad_input import QUICK
from fault_trials.material import Material
from fault_trials.sandbox import Sandbox

PART = "mine.evil:thing"

DOORS: dict[str, dict[str, Any]] = {
    **{section: {section: {"name": PART}} for section in ("method", "head", "teacher", "backbone")},
    "task": {"task": PART},
    "source": {"source": [PART]},
    "unseen": {"unseen": [f"{PART}:val"]},
    "regime": {"regime": PART, "target": ["world:fog"]},
    "metric": {"evaluation": {"metric": PART}},
    "own": {"transform": {"own": [PART]}},
    "label space": {"label_space": "../outside/secret.txt"},
    "start": {"start_from": "../outside"},
    "cache": {"data_cache": "../outside/cache"},
}


def _run_config(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root, door = box.copy(material.run("segmentation"), "run"), rng.choice(sorted(DOORS))
    file = root / "config.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | DOORS[door]))
    for path in (root / "metrics.json", root / "training.json"):
        if rng.random() < 0.5:
            path.unlink()
    commands = [
        ["predict", "run", str(material.photos), "--out", "predicted"],
        ["train", "--resume", "run"],
        ["evaluate", "run", "--unseen", "world:fog", "--out", "e"],
        ["data", "check", "run", "--workers", "0"],
        ["report", "run", "--out", "page.html"],
        ["export", "run", "--out", "exported"],
    ]
    return Attack(f"a run whose configuration names {door}", commands)


class _Pickled:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def _pickles(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root, content = box.copy(material.run("segmentation"), "run"), pickle.dumps(_Pickled(str(box.outside / "executed")))
    places = [
        "head.safetensors",
        "adapter/adapter_model.safetensors",
        "adapter/adapter_model.bin",
        "confusions.safetensors",
        "checkpoints/step-0000004/optimizer.safetensors",
        "checkpoints/step-0000004/adapter.bin",
    ]
    place = rng.choice(places)
    (root / place).write_bytes(content)
    if place.endswith(".bin"):
        (root / place).with_suffix(".safetensors").unlink(missing_ok=True)
    (root / "metrics.json").unlink()
    if "checkpoints" in place:
        (root / "training.json").unlink()
    commands = [
        ["predict", "run", str(material.photos), "--out", "predicted"],
        ["train", "--resume", "run"],
        ["export", "run", "--out", "exported"],
    ]
    return Attack(f"a pickle as {place}", commands)


def _safetensors(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root = box.copy(material.run("segmentation"), "run")
    file = root / rng.choice(("head.safetensors", "adapter/adapter_model.safetensors", "confusions.safetensors"))
    headers = {
        "a header of 2^60 bytes": struct.pack("<Q", 1 << 60) + b"{}",
        "a header of 90 MB": struct.pack("<Q", 90 << 20) + b" " * (90 << 20),
        "a tensor of 2^50": _header({"x": {"dtype": "F32", "shape": [1 << 25, 1 << 25], "data_offsets": [0, 4]}})
        + bytes(4),
        "negative offsets": _header({"x": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}) + bytes(4),
        "overlapping": _header({k: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for k in "xy"}) + bytes(4),
        "deep JSON": struct.pack("<Q", 20_000) + b"[" * 20_000,
        "no tensors": _header({}),
    }
    name = rng.choice(sorted(headers))
    file.write_bytes(headers[name])
    commands = [
        ["predict", "run", str(material.photos), "--out", "predicted"],
        ["report", "run", "--out", "p.html"],
        ["export", "run", "--to", "model", "--out", "exported"],
    ]
    if file.name.startswith("confusions"):
        commands = commands[1:2]
    return Attack(f"{file.name} with {name}", commands)


def _header(content: dict[str, Any]) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


def _backbone(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root, marker = box.copy(material.backbone, "backbone"), box.outside / "executed"
    for name in ("modeling_evil.py", "configuration_evil.py"):
        (root / name).write_text(EVIL.format(marker=str(marker)) + "class Evil: pass\n")
    auto = {
        "AutoConfig": "configuration_evil.Evil",
        "AutoModel": "modeling_evil.Evil",
        "AutoBackbone": "modeling_evil.Evil",
    }
    changes_: dict[str, dict[str, Any]] = {
        "auto_map": {"auto_map": auto},
        "auto_map and a new type": {"auto_map": auto, "model_type": "evil"},
        "kernels": {"_attn_implementation": "kernels-community/evil"},
        "kernels, public": {"attn_implementation": "evil/kernel"},
        "internal kernels": {"_attn_implementation_internal": "evil/kernel@main"},
        "experts": {"_experts_implementation": "evil/kernel"},
        "kernel config": {"use_kernels": True, "kernel_config": {"Linear": "evil/kernel:Linear"}},
        "quantised": {"quantization_config": {"quant_method": "gptq", "bits": 4, "modules_to_not_convert": ["x"]}},
        "torchscript": {"torchscript": True},
        "timm": {"model_type": "timm_backbone", "backbone": "hf-hub:evil/model", "use_pretrained_backbone": True},
        "huge": {"hidden_size": 1 << 20, "num_hidden_layers": 1 << 12},
        "sub-model": {"backbone_config": {"model_type": "dinov2", "_name_or_path": "evil/model"}},
        "adapter": {"_name_or_path": "../outside", "base_model_name_or_path": "evil/model"},
        "generation": {"custom_pipelines": {"x": {"impl": "modeling_evil.Evil"}}},
    }
    name = rng.choice(sorted(changes_))
    file = root / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes_[name]))
    if rng.random() < 0.3:
        (root / "pytorch_model.bin").write_bytes(pickle.dumps(_Pickled(str(marker))))
        (root / "model.safetensors").unlink()
        name += ", pickled weights"
    command = ["train", str(material.config_file("segmentation")), *QUICK, "--backbone", "backbone", "--out", "out"]
    return Attack(
        f"backbone: {name}", [command, ["spectrum", "backbone", "--out", "spectrum"]][: 1 if "huge" in name else 2]
    )


def _adapter(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root, marker = box.copy(material.run("segmentation"), "run"), box.outside / "executed"
    (root / "adapter/evil.py").write_text(EVIL.format(marker=str(marker)))
    changes_: dict[str, dict[str, Any]] = {
        "base model": {"base_model_name_or_path": "evil/model"},
        "auto mapping": {"auto_mapping": {"base_model_class": "Evil", "parent_library": "mine.evil"}},
        "another type": {"peft_type": "EVIL"},
        "init": {"init_lora_weights": "eva"},
        "targets": {"target_modules": "(a+)+$"},
        "a pattern that never ends": {"rank_pattern": {"(.*a){25}": 3}},
        "rank": {"r": 10**9},
        "runtime": {"runtime_config": {"ephemeral_gpu_offload": True}},
        "trained tokens": {"trainable_token_indices": [10**9]},
        "saved modules": {"modules_to_save": ["encoder"]},
        "revision": {"revision": "../../x"},
    }
    name = rng.choice(sorted(changes_))
    file = root / "adapter/adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes_[name]))
    return Attack(
        f"adapter_config.json: {name}",
        [["predict", "run", str(material.photos), "--out", "predicted"], ["export", "run", "--out", "exported"]],
    )


def _metrics(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    """Names in scores and logs are shown by pages and tables."""
    root, name = (
        box.copy(material.run("segmentation"), "run"),
        rng.choice((MARKUP, "\x1b[31mred", "../../outside/x", "[bold red]x[/]", "a\nb")),
    )
    for file in (root / "metrics.json", root / "figures/samples.json", root / "config.yaml"):
        text = file.read_text()
        file.write_text(
            text.replace(
                "night",
                json.dumps(name)[1:-1] if file.suffix == ".json" else name.replace("\x1b", "").replace("\n", ""),
            )
        )
    return Attack(
        f"scores of domain {name!r}",
        [["report", "run", "--out", "page.html"], ["train", "--resume", "run"], ["export", "run", "--out", "exported"]],
        raw=MARKUP,
    )


def _linked_page(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root, victim = box.copy(material.run("segmentation"), "run"), box.outside / "victim"
    victim.write_text("theirs")
    name, command = rng.choice(
        (
            ("report.html", ["report", "run"]),
            ("metrics.json", ["evaluate", "run"]),
            ("confusions.safetensors", ["evaluate", "run"]),
            ("log.jsonl", ["train", "--resume", "run"]),
            ("config.yaml", ["train", "--resume", "run"]),
            ("export", ["export", "run"]),
        )
    )
    if name == "log.jsonl":
        for path in ("metrics.json", "training.json", "checkpoints/step-0000004/state.json"):
            (root / path).unlink()
    (root / name).unlink(missing_ok=True)
    (root / name).symlink_to(box.outside if name == "export" else victim)
    return Attack(f"a run whose {name} is a link to somewhere else", [command])


RUNS: tuple[Layout, ...] = (_run_config, _pickles, _safetensors, _backbone, _adapter, _metrics, _linked_page)
