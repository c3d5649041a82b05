"""`minorkey train`."""

from pathlib import Path
from typing import Any

import typer

EPILOG = "Any other setting is KEY=VALUE, e.g. `training.steps=500`, `method.rank=32`, `seed=1`."


def train(
    preset: str | None = typer.Argument(None, help="A shipped preset, or the path of a YAML file."),
    overrides: list[str] | None = typer.Argument(None, metavar="[KEY=VALUE]...", help=EPILOG),
    out: Path | None = typer.Option(None, help="Run folder to write; default runs/PRESET-METHOD-SEED."),
    method: str | None = typer.Option(None, help="soma, lora, pissa, full or frozen."),
    source: list[str] | None = typer.Option(None, help="Labelled data set to train on; repeatable."),
    target: list[str] | None = typer.Option(None, help="Unlabelled data set, or folder of images, to adapt to."),
    unseen: list[str] | None = typer.Option(None, help="Data set that is only judged on; repeatable."),
    regime: str | None = typer.Option(None, help="self_training or transda, with a target."),
    teacher: str | None = typer.Option(None, help="Who labels it: adapter_ema, ema, self or base."),
    backbone: str | None = typer.Option(None, help="'builtin', a local folder or a hub id."),
    data_root: Path | None = typer.Option(None, help="Folder that holds the named data sets."),
    seed: int | None = typer.Option(None, help="Of head, batches and dropout; equal seeds pair runs."),
    resume: Path | None = typer.Option(None, metavar="RUN", help="Finish the run in this folder."),
) -> None:
    """Adapt a pretrained backbone on its source domains, or from there to an unlabelled target, and judge it.

    A data set is `world:DOMAIN` (built in), a known name such as `camvid:val`, or a folder with images/,
    labels/ and a dataset.yaml that names the ids.

    Examples:

    * `minorkey train demo --method lora --out runs/lora`

    * `minorkey train airsim_to_camvid --data-root data --backbone weights/vit-tiny training.steps=1000`

    * `minorkey train demo_quick --target photos/night --regime self_training --out runs/night`

    * `minorkey train --source mydata --unseen other:val --backbone facebook/dinov2-large --out runs/mine`

    * `minorkey train --resume runs/lora`
    """
    from minorkey.cli.show import show_scores
    from minorkey.config import parse_overrides, resolve
    from minorkey.errors import ConfigError
    from minorkey.runs import api

    arguments = list(overrides or [])
    if preset and "=" in preset:
        arguments.insert(0, preset)
        preset = None
    options: dict[str, Any] = {"method": method, "source": source, "unseen": unseen, "backbone": backbone}
    options |= {"target": target, "regime": regime, "teacher": teacher, "data_root": data_root, "seed": seed}
    given = parse_overrides(arguments, {key: value for key, value in options.items() if value not in (None, [])})
    if resume is not None:
        if preset or given or out:
            raise ConfigError("--resume takes the run's own configuration; give nothing beside it")
        api.resume(resume)
        show_scores([resume])
        return
    if out is None:
        config = resolve(preset, given)
        method_name = config.method.name.replace(":", ".")  # of package.module:attribute
        out = Path("runs") / f"{Path(preset or 'run').stem}-{method_name}-{config.seed}"
    api.train(preset, out=out, **given)
    show_scores([out])
    typer.echo(f"run folder: {out}")
