"""The main job, step by step: set up, train, save, load, judge. Commands and calls both come through here."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel

from minorkey.adapters import Attached, attach, fold, load_adapter, save_adapter, weights_sha256
from minorkey.adapters.specs import method_spec
from minorkey.config import RunConfig, load_config, save_config
from minorkey.data.loaders import training_loader
from minorkey.data.readers import Reader, open_dataset
from minorkey.errors import AdapterError, ConfigError, DataError
from minorkey.evaluation.protocol import Protocol
from minorkey.evaluation.run import Judged, judge, share_scenes
from minorkey.evaluation.scores import ScoreTable, TrainingCost, build_scores
from minorkey.evaluation.sliding import default_stride
from minorkey.labels import LabelSpace, label_space
from minorkey.models.backbone import Backbone, load_backbone
from minorkey.models.build import build_segmenter, head_state
from minorkey.predictor import Predictor
from minorkey.regimes.supervised import Supervised
from minorkey.run_folder import RunFolder
from minorkey.storage import read_tensors, write_json, write_tensors
from minorkey.tasks.segmentation import Segmentation
from minorkey.training.checkpoint import check_base, checkpoints, load_checkpoint, trained_tensors
from minorkey.training.device import accelerator_for
from minorkey.training.loop import Fit, trim_log
from minorkey.training.optim import build_optimizer
from minorkey.training.options import TrainingOptions
from minorkey.training.progress import Reporter

UNLIMITED = 10**9


@dataclass(frozen=True)
class Network:
    """A segmentation model before adaptation, with the fingerprint of its pretrained backbone."""

    model: PreTrainedModel
    backbone: nn.Module  # the transformers backbone inside
    loaded: Backbone
    base_sha256: str
    parameters: int  # of backbone and head


def train(config: RunConfig, out: Path, *, resume: bool = False, console: Console | None = None) -> ScoreTable:
    """Train, save and judge one run.

    Args:
        config: the resolved configuration.
        out: the run folder.
        resume: go on where an earlier run in `out` stopped; what is finished is not done again.
        console: where progress is shown.

    Returns:
        The scores, as in `metrics.json`.

    Raises:
        MinorkeyError: bad input, or a training that cannot go on; one line says what to do.
    """
    console = console or Console(stderr=True)
    folder = RunFolder(Path(out))
    _claim(folder, config, resume)
    if folder.metrics.is_file():
        return ScoreTable.read(folder.metrics)
    space = label_space(config.label_space)
    sources = open_sources(config, space)
    open_judged(config, space, console)  # a missing data set is better found before the training than after
    if not folder.cost.is_file():
        _fit(config, folder, sources, space, console)
    return evaluate(folder.path, console=console)


def config_of(run: str | Path) -> RunConfig:
    """The configuration of the run in a folder.

    Raises:
        DataError: there is no run.
    """
    folder = RunFolder(Path(run))
    if not folder.config.is_file():
        raise DataError(f"no run in '{folder.path}' (config.yaml is missing); give the --out folder of a training")
    return load_config(folder.config)


def _claim(folder: RunFolder, config: RunConfig, resume: bool) -> None:
    """Make the folder this run's, or refuse to mix two runs in one."""
    if not folder.started:
        save_config(config, folder.config)
    elif not resume:
        raise ConfigError(
            f"'{folder.path}' holds a run already; go on with `minorkey train --resume {folder.path}`, "
            "or choose another --out"
        )
    elif load_config(folder.config) != config:
        raise ConfigError(
            f"'{folder.path}' holds a run with another configuration (see its config.yaml); choose another --out"
        )


def open_sources(config: RunConfig, space: LabelSpace) -> list[Reader]:
    """The readers that are trained on."""
    return [
        open_dataset(spec, role="source", label_space=space, data_root=config.data_root, options=config.world)
        for spec in config.source
    ]


def open_judged(config: RunConfig, space: LabelSpace, console: Console) -> list[Judged]:
    """What the run is judged on: validation images of the source domains, then the unseen domains."""

    def reader(spec: str) -> Reader:
        return open_dataset(spec, role="unseen", label_space=space, data_root=config.data_root, options=config.world)

    images = config.evaluation.images or UNLIMITED
    judged = []
    for spec in config.source if config.evaluation.source else []:
        try:
            judged.append(Judged("source", reader(spec.removesuffix(":train")), images))
        except DataError as error:
            console.print(f"source '{spec}' is not judged: {error}", highlight=False, soft_wrap=True)
    judged += [Judged("unseen", reader(spec), images) for spec in config.unseen]
    if not judged:
        raise ConfigError("nothing to judge on; name at least one data set in `unseen`")
    return judged


def build_network(config: RunConfig, space: LabelSpace) -> Network:
    """The pretrained backbone with a fresh head, as the configuration says."""
    loaded = load_backbone(config.backbone)
    backbone: nn.Module = loaded.network
    base_sha256 = weights_sha256(backbone)
    model = build_segmenter(backbone, config.head, len(space), config.seed)
    return Network(model, backbone, loaded, base_sha256, sum(p.numel() for p in model.parameters()))


def _fit(config: RunConfig, folder: RunFolder, sources: list[Reader], space: LabelSpace, console: Console) -> None:
    network = build_network(config, space)
    saved = checkpoints(folder.checkpoints)
    checkpoint = load_checkpoint(saved[-1]) if saved else None
    if checkpoint is not None:
        check_base(checkpoint, network.base_sha256)
    attached = attach(
        network.backbone, config.method, seed=config.seed, state=checkpoint.adapter if checkpoint else None
    )
    fit = _prepare(config, folder, network, attached, sources, checkpoint.step if checkpoint else 0)
    if checkpoint is not None:
        fit.restore(checkpoint)
    trim_log(folder.log, fit.step)
    label = f"training {config.method.name}"
    with Reporter(console, label, config.training.steps, done=fit.step) as reporter:
        fit.run(reporter)
    if fit.accelerator.is_main_process:
        _save_result(config, folder, network, attached, fit)
    fit.accelerator.wait_for_everyone()


def _prepare(
    config: RunConfig,
    folder: RunFolder,
    network: Network,
    attached: Attached,
    sources: list[Reader],
    step: int,
) -> Fit:
    options = config.training
    accelerator = accelerator_for(options)
    model = accelerator.prepare_model(network.model)
    spec = method_spec(config.method.name)
    anneal = options.anneal_weight_decay
    return Fit(
        model=model,
        attached=attached,
        regime=Supervised(Segmentation(), model),
        optimizer=build_optimizer(network.model, options, config.method.name),
        options=options,
        anneal=spec.anneals_weight_decay if anneal is None else anneal,
        accelerator=accelerator,
        loader=training_loader(
            sources,
            config.transform,
            batch_size=options.batch_size,
            steps_from=step * options.accumulate,
            steps_to=options.steps * options.accumulate,
            seed=config.seed,
            mean=network.loaded.mean,
            std=network.loaded.std,
            workers=options.workers,
            process_index=accelerator.process_index,
            process_count=accelerator.num_processes,
        ),
        folder=folder,
        base_sha256=network.base_sha256,
        seed=config.seed,
    )


def _save_result(config: RunConfig, folder: RunFolder, network: Network, attached: Attached, fit: Fit) -> None:
    """Write the trained weights, and last what the training took."""
    trained = sum(p.numel() for p in network.model.parameters() if p.requires_grad)
    if _uses_ema(config) and fit.ema.average:
        fit.ema.copy_to(trained_tensors(attached, fit.network))
    if attached.layers:
        save_adapter(network.backbone, attached, folder.adapter, network.base_sha256)
    elif attached.trained_count:
        write_tensors(folder.backbone, attached.trained_tensors())
    write_tensors(folder.head, head_state(fit.network), {"base_weights_sha256": network.base_sha256})
    options = config.training
    cost = TrainingCost(
        steps=options.steps,
        seconds=round(fit.seconds, 2),
        images_per_second=round(options.steps * options.accumulate * options.batch_size / max(fit.seconds, 1e-9), 2),
        peak_memory_mb=round(fit.peak_memory_mb, 1),
        trained_parameters=trained,
        total_parameters=network.parameters,
        device=str(fit.accelerator.device),
        learning_rate=options.backbone_rate(config.method.name) if attached.trained_count else options.lr,
        seed=config.seed,
    )
    write_json(folder.cost, cost.model_dump(mode="json"))


def _uses_ema(config: RunConfig) -> bool:
    return config.evaluation.weights != "last" and config.training.weight_ema_from is not None


def protocol_of(config: RunConfig) -> Protocol:
    """The test protocol of a configuration."""
    options = config.evaluation
    if options.weights == "ema" and config.training.weight_ema_from is None:
        raise ConfigError("evaluation.weights is ema, but no average is kept; set training.weight_ema_from")
    stride = options.stride or (default_stride(options.window) if options.window else None)
    return Protocol(
        label_space=config.label_space,
        window=options.window,
        stride=stride,
        resize=options.resize,
        flip=options.flip,
        scales=options.scales,
        weights="ema" if _uses_ema(config) else "last",
    )


def load(run: str | Path, *, device: str = "auto") -> Predictor:
    """A finished training as a `Predictor`: the adapter folded into the backbone, the head on top.

    Raises:
        DataError: there is no finished training in `run`.
        AdapterError: the backbone's weights are not those that the run started from.
    """
    folder = RunFolder(Path(run))
    folder.require_trained()
    config = load_config(folder.config)
    return _load(folder, config, config.training.model_copy(update={"device": device}))


def _load(folder: RunFolder, config: RunConfig, options: TrainingOptions) -> Predictor:
    space = label_space(config.label_space)
    network = build_network(config, space)
    with safe_open(folder.head, framework="pt") as file:
        expected = (file.metadata() or {}).get("base_weights_sha256")
    if expected != network.base_sha256:
        raise AdapterError(
            f"run '{folder.path}' was trained on base weights {str(expected)[:12]}, but backbone "
            f"'{config.backbone.name}' has {network.base_sha256[:12]}; use the weights it was trained on"
        )
    if folder.adapter.is_dir():
        load_adapter(network.backbone, folder.adapter)
        fold(network.backbone)
    elif folder.backbone.is_file():
        unexpected = network.backbone.load_state_dict(read_tensors(folder.backbone), strict=False).unexpected_keys
        assert not unexpected, "the fingerprint of the base weights is over their names too"
    network.model.load_state_dict(read_tensors(folder.head), strict=False)
    network.model.requires_grad_(False).eval().to(accelerator_for(options).device)
    return Predictor(
        network.model,
        space,
        protocol_of(config),
        network.loaded.mean,
        network.loaded.std,
        config.evaluation.batch_size,
    )


def evaluate(
    run: str | Path,
    *,
    config: RunConfig | None = None,
    out: Path | None = None,
    console: Console | None = None,
) -> ScoreTable:
    """Judge a finished training, from its saved files, and write `metrics.json`.

    Args:
        run: the run folder.
        config: the run's configuration with other domains or another protocol; None: as trained.
        out: where to write; None: into the run folder.
        console: where progress is shown.
    """
    console = console or Console(stderr=True)
    folder = RunFolder(Path(run))
    folder.require_trained()
    config = config or load_config(folder.config)
    target = RunFolder(Path(out)) if out is not None else folder
    predictor = _load(folder, config, config.training)
    domains = open_judged(config, predictor.space, console)
    started = time.monotonic()
    confusions = judge(predictor, domains, config.evaluation.pictures, target.samples, console)
    scores = build_scores(
        confusions,
        run=folder.path.name,
        method=config.method.name,
        classes=predictor.space.classes,
        protocol=predictor.protocol,
        training=TrainingCost(**json.loads(folder.cost.read_text(encoding="utf-8"))),
        shared_scenes=share_scenes(domains),
    )
    _save_scores(target, scores, confusions)
    if target.path != folder.path:
        save_config(config, target.config)
    count = sum(len(matrices) for _, matrices in confusions.values())
    console.print(f"judged {count} images in {time.monotonic() - started:.0f} s", highlight=False)
    return scores


def _save_scores(target: RunFolder, scores: ScoreTable, confusions: dict) -> None:
    import torch

    write_tensors(target.confusions, {name: torch.from_numpy(m) for name, (_, m) in confusions.items()})
    write_json(target.metrics, scores.to_json())
