"""The adapter alone, as a stock PEFT folder for the untouched pretrained backbone."""

import json
import shutil
from pathlib import Path

from minorkey.adapters.convert import CONFIG
from minorkey.errors import AdapterError
from minorkey.export.card import Card
from minorkey.export.trained import Trained

CODE = """\
from peft import PeftModel
from transformers import {kind}

base = "{base}"{where}
backbone = {kind}.from_pretrained(
    base,
{settings}
)
backbone = PeftModel.from_pretrained(backbone, folder).merge_and_unload()
"""


def write_adapter(trained: Trained, folder: Path) -> Card:
    """Copy the adapter of a run into `folder`, with the name of the base it belongs to.

    Raises:
        AdapterError: the run's method trains no adapter.
    """
    if not trained.run.adapter.is_dir():
        raise AdapterError(
            f"method '{trained.config.method.name}' has no adapter to export; "
            f"use `minorkey export {trained.run.path} --to model`"
        )
    shutil.copytree(trained.run.adapter, folder, dirs_exist_ok=True)
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
    config = json.loads(file.read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": trained.base, "revision": trained.config.backbone.revision}
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _code(trained: Trained) -> str:
    config = trained.backbone.config
    chosen = {"out_features": config.out_features}
    if revision := trained.config.backbone.revision:
        chosen["revision"] = revision
    for name in ("apply_layernorm", "reshape_hidden_states"):
        if name in config.to_dict():
            chosen[name] = getattr(config, name)
    return CODE.format(
        kind=type(trained.backbone).__name__,
        base=trained.base,
        where="" if trained.base_on_hub else "  # wherever that folder lies",
        settings="\n".join(f"    {name}={value!r}," for name, value in chosen.items()).replace("'", '"'),
    )


def _notes(trained: Trained) -> list[str]:
    options, notes = trained.config.backbone, ["The head is not part of it; `minorkey export --to model` writes both."]
    if resized := [name for name in ("patch_size", "image_size") if getattr(options, name) is not None]:
        notes.append(
            f"The pretrained backbone was resized first ({', '.join(f'{n} {getattr(options, n)}' for n in resized)}): "
            "load it with `minorkey.models.backbone.load_backbone`, or take the export `--to model`."
        )
    return notes
