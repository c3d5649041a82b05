"""Training, step by step: claim the folder, set up, train, save, judge. Commands and calls come through here."""

from collections.abc import Mapping
from pathlib import Path

from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from minorkey.adapters import Attached, attach, save_adapter
from minorkey.adapters.specs import method_spec
from minorkey.config import RunConfig, load_config, save_config
from minorkey.data.loaders import TrainingLoader, training_loader
from minorkey.errors import ConfigError, DataError
from minorkey.evaluation.scores import ScoreTable, TrainingCost
from minorkey.judging import evaluate, load, protocol_of, validation
from minorkey.labels import LabelSpace, label_space
from minorkey.models.build import head_state
from minorkey.models.checkpointing import checkpoint_blocks
from minorkey.parts import Network, Sources, build_network, open_judged, open_sources
from minorkey.processes import from_main, process_count, process_index, speaker, together
from minorkey.regimes.supervised import Supervised
from minorkey.run_folder import RunFolder
from minorkey.storage import write_json, write_tensors
from minorkey.tasks.segmentation import Segmentation
from minorkey.training.checkpoint import check_base, checkpoints, load_checkpoint
from minorkey.training.device import accelerator_for, device_for
from minorkey.training.loop import Fit, trim_log
from minorkey.training.optim import build_optimizer
from minorkey.training.parallel import prepare_network
from minorkey.training.progress import Reporter
from minorkey.training.sharding import whole
from minorkey.training.start import start_weights

__all__ = [
    "Network",
    "build_network",
    "config_of",
    "evaluate",
    "load",
    "open_judged",
    "open_sources",
    "protocol_of",
    "train",
]

State = Mapping[str, Tensor]


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
    device_for(config.training)  # first of all: it connects the processes
    console = speaker(console)
    folder = RunFolder(Path(out))
    from_main(lambda: _claim(folder, config, resume))
    if from_main(folder.metrics.is_file):
        return from_main(lambda: ScoreTable.read(folder.metrics))
    with together():
        space = label_space(config.label_space)
        sources = open_sources(config, space)
        for note in dict.fromkeys(note for reader in sources.readers for note in reader.notes):
            console.print(note, highlight=False, soft_wrap=True)
        open_judged(config, space, console)  # a missing data set is better found before the training than after
    if not from_main(folder.cost.is_file):
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


def _fit(config: RunConfig, folder: RunFolder, sources: Sources, space: LabelSpace, console: Console) -> None:
    saved = from_main(lambda: checkpoints(folder.checkpoints))
    with together():
        network = build_network(config, space)
        checkpoint = load_checkpoint(saved[-1]) if saved else None
        begun = checkpoint or start_weights(config)
        if begun is not None:
            check_base(begun, network.base_sha256)
            network.model.load_state_dict(begun.head, strict=False)
        state = begun.adapter if begun else None
        attached = attach(network.backbone, config.method, seed=config.seed, state=state)
        validate = validation(config, network, space, console)
        if config.training.gradient_checkpointing:
            checkpoint_blocks(network.model)
        accelerator = accelerator_for(config.training)
        step = checkpoint.step if checkpoint else 0
        loader = _loader(config, network, sources, step)
    fit = _prepare(config, folder, network, attached, accelerator, loader, step)
    fit.validate = validate
    if checkpoint is not None:
        fit.restore(checkpoint)
    from_main(lambda: trim_log(folder.log, fit.step))
    label = f"training {config.method.name}"
    with Reporter(console, label, config.training.steps, done=fit.step) as reporter:
        fit.run(reporter)
    fit.deploy()
    cost = _cost(config, network, attached, fit)
    adapter, head = whole(attached.state_dict()), whole(head_state(fit.network))

    def save() -> None:
        in_pieces = config.training.shard and process_count() > 1
        saved, trained = _unsharded(config, space, adapter) if in_pieces else (network, attached)
        _save_result(folder, saved, trained, head, cost)

    from_main(save)


def _loader(config: RunConfig, network: Network, sources: Sources, step: int) -> TrainingLoader:
    """This process's part of the batches after a step."""
    options = config.training
    return training_loader(
        sources.readers,
        config.transform,
        batch_size=options.batch_size,
        steps_from=step * options.accumulate,
        steps_to=options.steps * options.accumulate,
        seed=config.seed,
        mean=network.loaded.mean,
        std=network.loaded.std,
        weights=sources.weights,
        workers=options.workers,
        process_index=process_index(),
        process_count=process_count(),
    )


def _prepare(
    config: RunConfig,
    folder: RunFolder,
    network: Network,
    attached: Attached,
    accelerator: Accelerator,
    loader: TrainingLoader,
    step: int,
) -> Fit:
    options = config.training
    model = prepare_network(accelerator, network.model, config.transform.crop, sharded=options.shard)
    spec = method_spec(config.method.name)
    anneal = options.anneal_weight_decay
    return Fit(
        model=model,
        attached=attached,
        regime=Supervised(Segmentation(), model, options.steps, done=step),
        optimizer=build_optimizer(network.model, options, config.method.name),
        options=options,
        anneal=spec.anneals_weight_decay if anneal is None else anneal,
        accelerator=accelerator,
        loader=loader,
        folder=folder,
        base_sha256=network.base_sha256,
        seed=config.seed,
    )


def _cost(config: RunConfig, network: Network, attached: Attached, fit: Fit) -> TrainingCost:
    """What the training took."""
    options = config.training
    return TrainingCost(
        steps=options.steps,
        seconds=round(fit.seconds, 2),
        images_per_second=round(options.steps * options.accumulate * options.batch_size / max(fit.seconds, 1e-9), 2),
        peak_memory_mb=round(fit.peak_memory_mb, 1),
        trained_parameters=sum(p.numel() for p in network.model.parameters() if p.requires_grad),
        total_parameters=network.parameters,
        device=str(fit.accelerator.device),
        learning_rate=options.backbone_rate(config.method.name) if attached.trained_count else options.lr,
        seed=config.seed,
    )


def _unsharded(config: RunConfig, space: LabelSpace, adapter: State) -> tuple[Network, Attached]:
    """The network anew on the CPU, with what training made of its backbone: the one that trained is in pieces."""
    network = build_network(config, space)
    state = {name: value.cpu() for name, value in adapter.items()}
    return network, attach(network.backbone, config.method, seed=config.seed, state=state)


def _save_result(folder: RunFolder, network: Network, attached: Attached, head: State, cost: TrainingCost) -> None:
    """Write the trained weights, and last what the training took."""
    if attached.layers:
        save_adapter(network.backbone, attached, folder.adapter, network.base_sha256)
    elif attached.trained_count:
        write_tensors(folder.backbone, attached.trained_tensors())
    write_tensors(folder.head, head, {"base_weights_sha256": network.base_sha256})
    write_json(folder.cost, cost.model_dump(mode="json"))
