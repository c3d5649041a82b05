"""`minorkey train`."""

from pathlib import Path
from typing import Any

import typer

from minorkey.cli.settings import Backbone, DataRoot, Method, Overrides, Preset, default_folder, settings


def train(
    preset: Preset = None,
    overrides: Overrides = None,
    out: Path | None = typer.Option(None, help="Run folder to write; default runs/PRESET-METHOD-SEED."),
    method: Method = None,
    source: list[str] | None = typer.Option(None, help="Labelled data set to train on; repeatable."),
    target: list[str] | None = typer.Option(
        None, help="Unlabelled data set, or folder of images or clips, to adapt to."
    ),
    unseen: list[str] | None = typer.Option(None, help="Data set that is only judged on; repeatable."),
    regime: str | None = typer.Option(None, help="self_training or transda, with a target."),
    teacher: str | None = typer.Option(None, help="Who labels it: adapter_ema, ema, self or base."),
    backbone: Backbone = None,
    data_root: DataRoot = None,
    seed: int | None = typer.Option(None, help="Of head, batches and dropout; equal seeds pair runs."),
    track: list[str] | None = typer.Option(
        None, help="Also log to tensorboard, wandb, trackio or mlflow, offline; repeatable."
    ),
    resume: Path | None = typer.Option(None, metavar="RUN", help="Finish the run in this folder."),
) -> None:
    """Adapt a pretrained backbone on its source domains, or from there to an unlabelled target, and judge it.

    A data set is `world:DOMAIN` (built in), a known name such as `camvid:val`, or a folder: as a labelling tool
    exports it, or with a dataset.yaml. What a folder is taken for is said by `minorkey data check FOLDER`.

    Examples:

    * `minorkey train demo --method lora --out runs/lora`

    * `minorkey train airsim_to_camvid --data-root data --backbone weights/vit-tiny training.steps=1000`

    * `minorkey train demo_quick --target photos/night --regime self_training --out runs/night`

    * `minorkey train --source mydata --unseen other:val --backbone facebook/dinov2-large --out runs/mine`

    * `minorkey train --resume runs/lora`
    """
    from minorkey.cli.show import show_next, show_scores
    from minorkey.config import resolve
    from minorkey.errors import ConfigError
    from minorkey.reporting.next_steps import after_training
    from minorkey.runs import api

    options: dict[str, Any] = {"method": method, "source": source, "unseen": unseen, "backbone": backbone}
    options |= {"target": target, "regime": regime, "teacher": teacher, "data_root": data_root, "seed": seed}
    options |= {"training": {"track": track} if track else None}
    preset, given = settings(preset, overrides, options)
    if resume is not None:
        if preset or given or out:
            raise ConfigError("--resume takes the run's own configuration; give nothing beside it")
        api.resume(resume)
        show_scores([resume])
        show_next(after_training(resume))
        return
    out = out or default_folder(resolve(preset, given), preset or "run")
    api.train(preset, out=out, **given)
    show_scores([out])
    typer.echo(f"run folder: {out}")
    show_next(after_training(out))
