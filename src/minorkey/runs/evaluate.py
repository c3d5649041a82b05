"""A finished training from its files: loaded as a `Predictor`, and evaluated."""

import time
from pathlib import Path

import torch
from rich.console import Console

from minorkey.adapters import fold, load_adapter
from minorkey.config import RunConfig, load_config, save_config
from minorkey.errors import ConfigError, unknown
from minorkey.evaluation.evidence_files import write_evidence
from minorkey.evaluation.run import judge, share_scenes
from minorkey.evaluation.scores import Adaptation, Role, ScoreTable, TrainingCost, build_scores
from minorkey.labels import LabelSpace, label_space
from minorkey.models.build import load_head
from minorkey.models.heads.detection.collaborative import drop_auxiliary
from minorkey.runs.assemble import Network, build_network, open_judged
from minorkey.system.outside import outside_allowed, outside_faults
from minorkey.system.precision import evaluation_precision, units_of
from minorkey.system.processes import from_main, speaker, together
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import read_tensors, write_json
from minorkey.tasks.evidence import Evidence
from minorkey.tasks.predictor import Predictor
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.scored import task_with
from minorkey.tasks.table import task_named
from minorkey.training.device import device_for


def protocol_of(config: RunConfig) -> Protocol:
    """The test protocol of a configuration, on the device of this process."""
    options, classes = config.evaluation, label_space(config.label_space).classes
    for name in options.classes or ():
        if name not in classes:
            raise ConfigError(unknown(f"class of label space '{config.label_space}'", name, classes))
    return Protocol(
        label_space=config.label_space,
        resize=options.resize,
        resize_in=options.resize_in,
        weights=config.deployed,
        classes_scored=options.classes,
        metric=config.metric,
        task=None if task_with(config.metric) == config.task else config.task,
        precision=evaluation_precision(options.precision, units_of(device_for(config.training))),
        **task_named(config.task).protocol(config),
    )


def predictor_for(config: RunConfig, network: Network, space: LabelSpace) -> Predictor:
    """A network under the test protocol of a configuration."""
    return Predictor(
        network.model,
        space,
        protocol_of(config),
        network.loaded.mean,
        network.loaded.std,
        config.evaluation.batch_size,
        task_named(config.task),
        config.transform.crop,
    )


@outside_faults()
def load(run: str | Path, *, device: str = "auto", allow_outside: bool = False) -> Predictor:
    """A finished training as a `Predictor`: the adapter folded into the backbone, the head on top.

    Args:
        run: run folder.
        device: where it predicts.
        allow_outside: let the run name code that is not of this package, and run it.

    Raises:
        ConfigError: the run names such code, and that is not allowed.
        DataError: there is no finished training in `run`.
        AdapterError: the backbone's weights are not those that the run started from.
    """
    folder = RunFolder(Path(run))
    folder.require_trained()
    with outside_allowed(allow_outside):
        config = load_config(folder.config)
    config = config.model_copy(update={"training": config.training.model_copy(update={"device": device})})
    return _load(folder, config, device_for(config.training))


def _load(folder: RunFolder, config: RunConfig, device: torch.device) -> Predictor:
    space = label_space(config.label_space)
    network = build_network(config, space)
    load_head(network.model, folder.head, config.backbone.name, network.base_sha256)
    if folder.adapter.is_dir():
        load_adapter(network.backbone, folder.adapter)
        fold(network.backbone)
    elif folder.backbone.is_file():
        unexpected = network.backbone.load_state_dict(read_tensors(folder.backbone), strict=False).unexpected_keys
        assert not unexpected, "the fingerprint of the base weights is over their names too"
    drop_auxiliary(network.model)
    network.model.requires_grad_(False).eval().to(device)
    return predictor_for(config, network, space)


@outside_faults()
def evaluate(
    run: str | Path,
    *,
    config: RunConfig | None = None,
    out: Path | None = None,
    console: Console | None = None,
) -> ScoreTable:
    """Evaluate a finished training, from its saved files, and write `metrics.json`.

    Args:
        run: the run folder.
        config: the run's configuration with other domains or another protocol; None: as trained.
        out: where to write; None: into the run folder.
        console: where progress is shown.
    """
    folder = RunFolder(Path(run))
    folder.require_trained()
    config = config or load_config(folder.config)
    device = device_for(config.training)
    console = speaker(console)
    target = RunFolder(Path(out)) if out is not None else folder
    with together():
        predictor = _load(folder, config, device)
        domains = open_judged(config, predictor.space, console)
        cost = TrainingCost.read(folder.cost)
    started = time.monotonic()
    evidence = judge(predictor, domains, config.evaluation.pictures, target.samples, console)
    scores = build_scores(
        evidence,
        run=folder.path.name,
        method=config.method.name,
        classes=predictor.space.classes,
        protocol=predictor.protocol,
        training=cost,
        adaptation=_adaptation(config),
        shared_scenes=share_scenes(domains),
        task=config.task,
    )
    from_main(lambda: _save_scores(target, scores, evidence))
    if target.path != folder.path:
        from_main(lambda: save_config(config, target.config))
    count = sum(kept.shape[0] for _, kept in evidence.values())
    console.print(f"judged {count} images in {time.monotonic() - started:.0f} s", highlight=False)
    return scores


def _adaptation(config: RunConfig) -> Adaptation | None:
    if not config.regime_class.adapts:
        return None
    targets = [target.data for target in config.target]
    return Adaptation(regime=config.regime, teacher=config.teacher.name, targets=targets)


def _save_scores(target: RunFolder, scores: ScoreTable, evidence: dict[str, tuple[Role, Evidence]]) -> None:
    write_evidence(target, scores.protocol, {name: kept for name, (_, kept) in evidence.items()})
    write_json(target.metrics, scores.to_json())
