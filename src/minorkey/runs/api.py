"""The commands as calls: the same configuration, the same code path."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from minorkey.config import RunConfig, load_config, resolve
from minorkey.data.corruptions import SEVERITIES, robustness_domains, split_corruption
from minorkey.data.readers import SourceOptions
from minorkey.errors import ConfigError, unknown
from minorkey.evaluation.scores import ScoreTable
from minorkey.evaluation.submission import FORMATS, write_predictions
from minorkey.runs.assemble import open_unseen
from minorkey.runs.deployed import deployed_config, evaluations_of, is_deployed
from minorkey.runs.evaluate import evaluate as evaluate_run
from minorkey.runs.evaluate import evaluate_file
from minorkey.runs.load import config_of, load, protocol_of
from minorkey.runs.made import model_digest
from minorkey.runs.onnx_session import OnnxSession
from minorkey.runs.train import train as train_run
from minorkey.system.outside import outside_allowed
from minorkey.system.processes import from_main, speaker, together
from minorkey.system.run_folder import RunFolder
from minorkey.system.unforeseen import public
from minorkey.training.device import connect

EVALUATED_WITH = frozenset({"unseen", "data_root", "world", "evaluation", "backbone"})
"""The parts of a configuration that may differ between training and evaluation."""

Names = str | Sequence[str]

DataSets = str | Mapping[str, Any] | SourceOptions | Sequence[str | Mapping[str, Any] | SourceOptions]
"""Data sets by name, or with what `SourceOptions` says of them."""


@public
def train(
    preset: str | Path | None = None,
    *,
    out: str | Path,
    source: DataSets | None = None,
    target: DataSets | None = None,
    unseen: Names | None = None,
    backbone: str | Mapping[str, Any] | None = None,
    method: str | Mapping[str, Any] | None = None,
    regime: str | None = None,
    teacher: str | Mapping[str, Any] | None = None,
    resume: bool = False,
    console: Console | None = None,
    allow_outside: bool = False,
    **overrides: Any,
) -> ScoreTable:
    """Adapt a pretrained backbone on the source domains, or from there to an unlabelled target, and evaluate it.

    Args:
        preset: name of a shipped preset or path of a YAML file; None starts from the defaults.
        out: run folder to write.
        source: labelled data sets to train on.
        target: unlabelled data sets, or folders of images, to adapt to.
        unseen: data sets that are only evaluated on.
        backbone: 'builtin', a local folder or a hub id; or a mapping with further options.
        method: name of an adaptation method; or a mapping with further options.
        regime: how a target is used, `self_training` or `transda`.
        teacher: who labels it; or a mapping with further options.
        resume: go on where an earlier run in `out` stopped.
        console: where progress is shown; None: standard error.
        allow_outside: let a run's configuration that is given as `preset` name code that is not of this package.
        **overrides: other parts of the configuration, e.g. `training={"steps": 100}`, `seed=1`.

    Returns:
        Scores per domain; the run folder holds the adapter, head, log, metrics and pictures.

    Raises:
        MinorkeyError: bad input; one line says what to do.
    """
    named = {"source": source, "target": target, "unseen": unseen, "backbone": backbone, "method": method}
    named |= {"regime": regime, "teacher": teacher}
    given = {key: value for key, value in named.items() if value is not None}
    with outside_allowed(allow_outside):
        return train_run(resolve(preset, given | overrides), Path(out), resume=resume, console=console)


@public
def resume(out: str | Path, console: Console | None = None, *, allow_outside: bool = False) -> ScoreTable:
    """Finish the run in `out` with its own configuration; a finished one is only read.

    Args:
        out: run folder.
        console: where progress is shown; None: standard error.
        allow_outside: let the run name code that is not of this package, and run it.

    Raises:
        ConfigError: the run names such code, or a folder to write to that is not there, and that is not allowed.
        DataError: there is no run in `out`.
    """
    with outside_allowed(allow_outside):
        config = config_of(out)
        if config.data_cache is not None and not config.data_cache.is_dir() and not allow_outside:
            raise ConfigError(
                f"'{out}' names data_cache '{config.data_cache}', which is not there, and may be another's; "
                "make the folder if it is yours, or say data_cache: null in config.yaml"
            )
        return train_run(config, Path(out), resume=True, console=console)


@public
def evaluate(
    run: str | Path,
    *,
    unseen: Names | None = None,
    out: str | Path | None = None,
    console: Console | None = None,
    allow_outside: bool = False,
    **overrides: Any,
) -> ScoreTable:
    """Evaluate a finished run, as trained or on other domains and under another protocol.

    Args:
        run: run folder, or an ONNX file that `export_run` wrote of one.
        unseen: other data sets to evaluate on.
        out: where the scores go; None: `evaluation_folder`.
        console: where progress is shown; None: standard error.
        allow_outside: let the run name code that is not of this package, and run it.
        **overrides: other parts of the configuration that an evaluation depends on, e.g.
            `evaluation={"flip": True, "source": False}`, `data_root=...`, `world=...`.

    Raises:
        MinorkeyError: bad input; one line says what to do.
    """
    given = overrides | ({} if unseen is None else {"unseen": unseen})
    with outside_allowed(allow_outside):
        if is_deployed(run):
            _check_changes(given, EVALUATED_WITH - {"backbone"})
            return evaluate_file(Path(run), given, out=Path(out or evaluation_folder(run, given)), console=console)
        config = _evaluation_config(run, given)
        target = Path(out) if out else evaluation_folder(run, given)
        return evaluate_run(run, config=config, out=target, console=console)


def _evaluation_config(run: str | Path, given: Mapping[str, Any]) -> RunConfig | None:
    """The run's configuration with what an evaluation may change; None: as trained."""
    _check_changes(given)
    return load_config(RunFolder(Path(run)).config, given) if given else None


def _check_changes(given: Mapping[str, Any], free: Collection[str] = EVALUATED_WITH) -> None:
    if fixed := sorted(given.keys() - set(free)):
        raise ConfigError(f"'{fixed[0]}' was fixed by the training; evaluate takes {', '.join(sorted(free))}")


@public
def evaluation_folder(run: str | Path, overrides: Mapping[str, Any]) -> Path:
    """Where scores go by default: the run folder as trained, else `evaluations/<digest>` in it.

    Those of a deployed file go beside its folder, to `<folder>-evaluations/<digest>`.

    The digest is that of the evaluated domains and the protocol, so a repeated evaluation replaces itself.
    """
    if is_deployed(run):
        values = {"file": Path(run).name, **overrides}
        text = json.dumps(values, sort_keys=True, default=str)
        return evaluations_of(Path(run)) / hashlib.sha256(text.encode()).hexdigest()[:8]
    if not overrides:
        return Path(run)
    config = load_config(RunFolder(Path(run)).config, overrides)
    values = config.model_dump(mode="json", include=set(EVALUATED_WITH))
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return Path(run) / "evaluations" / digest[:8]


@public
def under_corruptions(
    run: str | Path, overrides: Mapping[str, Any], severities: Sequence[int] | None = None
) -> dict[str, Any]:
    """The overrides with which `evaluate` takes every unseen domain clean and under every corruption.

    Those that are under a corruption already are taken as they are.

    Args:
        run: run folder.
        overrides: further changes to its configuration.
        severities: 1 (mild) to 5 (strong); None: all.

    Raises:
        ConfigError: a severity is out of range, or all unseen domains are under a corruption already.
    """
    if is_deployed(run):
        config = deployed_config(OnnxSession(Path(run)).info, Path(run), overrides)
    else:
        config = load_config(RunFolder(Path(run)).config, overrides)
    parts = [split_corruption(spec) for spec in config.unseen]
    clean = [spec for spec, corruption in parts if corruption is None]
    if config.unseen and not clean:
        raise ConfigError(
            f"'{config.unseen[0]}' is under a corruption already; name the domain itself, --unseen {parts[0][0]}"
        )
    corrupted = [name for spec in clean for name in robustness_domains(spec, severities=severities or SEVERITIES)]
    asked = [f"{spec}+{corruption}" for spec, corruption in parts if corruption is not None]
    evaluation = {"source": False, "pictures": 0, **overrides.get("evaluation", {})}
    return {**overrides, "unseen": list(dict.fromkeys([*clean, *corrupted, *asked])), "evaluation": evaluation}


@public
def write_submission(
    run: str | Path, server: str, *, out: str | Path | None = None, console: Console | None = None, **overrides: Any
) -> tuple[int, Path]:
    """Predict the unseen data sets of a run in the format of a test server, labelled or not.

    Args:
        run: run folder.
        server: `cityscapes` or `acdc`.
        out: folder of the PNG files; None: `submissions/<server>` in the run folder. Those of the same model are kept.
        console: where progress is shown; None: standard error.
        **overrides: as for `evaluate`, e.g. `unseen="cityscapes:test"`.

    Returns:
        How many files were written, and the folder.

    Raises:
        MinorkeyError: unknown server, a model of other classes, or bad input.
    """
    if server not in FORMATS:
        raise ConfigError(unknown("test server", server, FORMATS))
    if is_deployed(run):
        raise ConfigError(f"'{run}' is a deployed file; predictions for a test server are written from its run")
    config = _evaluation_config(run, overrides) or load_config(RunFolder(Path(run)).config)
    folder = Path(out) if out else Path(run) / "submissions" / server
    connect(config.training)
    with together():
        predictor = load(run)
    predictor.protocol = protocol_of(config)
    readers = [domain.reader for domain in open_unseen(config, predictor.space)]
    model = from_main(lambda: model_digest(RunFolder(Path(run)), predictor))
    return write_predictions(predictor, readers, FORMATS[server], folder, speaker(console), model), folder
