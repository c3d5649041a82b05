"""The adapter alone, as a stock PEFT folder for the untouched pretrained backbone."""

import json
import shutil
from pathlib import Path
from typing import Any

from minorkey.adapters.convert import CONFIG, PROVENANCE, TENSORS
from minorkey.errors import AdapterError
from minorkey.export.backbone_only import timm_settings
from minorkey.export.card import Card
from minorkey.export.rename import rename_layers
from minorkey.export.trained import Trained
from minorkey.models.timm_backbone import TimmFeatures
from minorkey.system.reading import read_json
from minorkey.system.sealed import read_sealed, write_sealed

CODE = """\
from peft import PeftModel
from transformers import {kind}

base = {base}{where}
backbone = {kind}.from_pretrained(
    base,
{settings}
)
backbone = PeftModel.from_pretrained(backbone, folder).merge_and_unload()
"""
TIMM_CODE = """\
import timm
from peft import PeftModel

base = {base}{where}
backbone = timm.create_model(
    f"{source}:{{base}}",
    pretrained=True,
    num_classes=0,
    global_pool="",
{settings}
)
backbone = PeftModel.from_pretrained(backbone, folder).merge_and_unload()
"""


def write_adapter(trained: Trained, folder: Path) -> Card:
    """Copy the adapter of a run into `folder`, with the name of the base it belongs to.

    Raises:
        AdapterError: the run's method trains no adapter, or its network takes other channels than RGB.
    """
    if not trained.run.adapter.is_dir():
        raise AdapterError(
            f"method '{trained.config.method.name}' has no adapter to export; "
            f"use `minorkey export {trained.run.path} --to model`"
        )
    if trained.config.backbone.channels is not None:
        raise AdapterError(
            f"the first layer is for channels {', '.join(trained.config.backbone.channels)}, which no adapter holds; "
            f"use `minorkey export {trained.run.path} --to model`"
        )
    shutil.copytree(trained.run.adapter, folder, dirs_exist_ok=True)
    if trained.other_base is not None:
        rename_layers(folder, trained.other_base)
    _name_base(folder / CONFIG, trained)
    return Card(
        what="A PEFT adapter for the backbone below, which has to have exactly these weights.",
        code=_code(trained),
        library="peft",
        task="image-feature-extraction",
        relation="adapter",
        notes=_notes(trained),
    )


def _name_base(file: Path, trained: Trained) -> None:
    config = read_json(file)
    config |= {"base_model_name_or_path": trained.base, "revision": trained.config.backbone.revision}
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    provenance = file.with_name(PROVENANCE)
    write_sealed(provenance, read_sealed(provenance).values, (CONFIG, TENSORS))


def _code(trained: Trained) -> str:
    where = "" if trained.base_on_hub else "  # wherever that folder lies"
    revision = trained.config.backbone.revision
    if isinstance(trained.backbone, TimmFeatures):
        return TIMM_CODE.format(
            base=json.dumps(trained.base + (f"@{revision}" if revision else ""), ensure_ascii=False),
            where=where,
            source="hf-hub" if trained.base_on_hub else "local-dir",
            settings=_arguments(timm_settings(trained.backbone)),
        )
    config = trained.base_network.config
    chosen = {"out_features": config.out_features} | ({"revision": revision} if revision else {})
    for name in ("apply_layernorm", "reshape_hidden_states"):
        if name in config.to_dict():
            chosen[name] = getattr(config, name)
    return CODE.format(
        kind=type(trained.base_network).__name__,
        base=json.dumps(trained.base, ensure_ascii=False),
        where=where,
        settings=_arguments(chosen),
    )


def _arguments(values: dict[str, Any]) -> str:
    return "\n".join(f"    {name}={value!r}," for name, value in values.items()).replace("'", '"')


def _notes(trained: Trained) -> list[str]:
    options, notes = trained.config.backbone, ["The head is not part of it; `minorkey export --to model` writes both."]
    if resized := [name for name in ("patch_size", "image_size") if getattr(options, name) is not None]:
        notes.append(
            f"The pretrained backbone was resized first ({', '.join(f'{n} {getattr(options, n)}' for n in resized)}): "
            "load it with `minorkey.models.backbone.load_backbone`, or take the export `--to model`."
        )
    return notes
