"""One training: network, adapter, regime and batches set up, run, and what it gave saved."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from minorkey.adapters import Attached, attach, save_adapter
from minorkey.adapters.held import held_in
from minorkey.adapters.specs import method_spec
from minorkey.config import RunConfig
from minorkey.data.loaders import TrainingLoader, training_loader
from minorkey.data.pairs import TARGET_SEED, PairLoader
from minorkey.data.rare_classes import RareClasses
from minorkey.data.readers import PseudoLabelled, Reader, label_folders
from minorkey.data.records import evenly_spread
from minorkey.data.sample import Sample
from minorkey.data.transforms import TransformConfig
from minorkey.data.workers import worker_count
from minorkey.errors import DataError
from minorkey.evaluation.scores import TrainingCost
from minorkey.labels import LabelSpace
from minorkey.models.build import Head, backbone_of, head_state, load_head
from minorkey.models.checkpointing import checkpoint_blocks
from minorkey.regimes.base import Regime
from minorkey.runs.assemble import Network, Sources, build_network
from minorkey.runs.evaluate import predictor_for, validation, watching
from minorkey.runs.regime import build_regime, pretrained_parts
from minorkey.runs.start import head_start, start_weights
from minorkey.system.precision import HALF
from minorkey.system.processes import from_main, process_count, process_index, together
from minorkey.system.progress import Reporter
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import write_json, write_tensors
from minorkey.tasks.table import task_named
from minorkey.training.checkpoint import check_base, checkpoints, load_checkpoint
from minorkey.training.device import accelerator_for, precision_for
from minorkey.training.graphs import graphed
from minorkey.training.incidents import Incidents
from minorkey.training.loop import Fit, trim_log
from minorkey.training.optim import build_optimizer
from minorkey.training.parallel import prepare_network
from minorkey.training.sharding import whole
from minorkey.training.snapshots import Snapshots

State = Mapping[str, Tensor]

PICTURED = 4
"""Target images whose pseudo-labels are pictured while the training goes on."""


@dataclass(frozen=True)
class Material:
    """What a training learns from."""

    space: LabelSpace
    sources: Sources
    targets: Sources | None = None  # unlabelled
    rare: RareClasses | None = None  # the classes of the source images, where rare ones are to be drawn more often
    pseudo_labels: Path | None = None  # folder of label images for the targets, from an earlier round


def fit(
    config: RunConfig, folder: RunFolder, material: Material, console: Console, earlier: TrainingCost | None = None
) -> None:
    """Train to the end, from the last checkpoint in `folder` if there is one, and save the result there.

    Args:
        config: of the run, or of a round of it.
        folder: its folder.
        material: what it learns from.
        console: where progress is shown.
        earlier: what the rounds before it took together, which counts as well.

    Raises:
        MinorkeyError: the training cannot begin or go on; one line says what to do.
    """
    saved = from_main(lambda: checkpoints(folder.checkpoints))
    space = material.space
    with together():
        accelerator = accelerator_for(config.training)
        network = build_network(config, space)
        network.model.to(accelerator.device)  # before anything is decomposed, which a GPU is faster at
        checkpoint = load_checkpoint(saved[-1]) if saved else None
        begun = checkpoint or start_weights(config)
        if begun is None and (other := head_start(config)) is not None:
            load_head(network.model, other.head, config.backbone.name, network.base_sha256)
        if begun is not None:
            check_base(begun, network.base_sha256)
            network.model.load_state_dict(begun.head, strict=False)
        state = begun.adapter if begun else None
        attached = attach(network.backbone, config.method, seed=config.seed, state=state, load=False)
        pretrained = pretrained_parts(config, network, attached, len(space))  # before anything trained is loaded
        if state is not None:
            attached.load_state_dict(state)
        validate, watch = validation(config, network, space, console), watching(config, network, space)
        labelled = material.pseudo_labels is not None
        regime = build_regime(config, network, attached, len(space), pretrained=pretrained, labelled=labelled)
        if config.training.gradient_checkpointing:
            checkpoint_blocks(network.model)
        step = checkpoint.step if checkpoint else 0
        loader = _loader(config, network, material, step, accelerator.device)
        snapshots = _snapshots(config, folder, network, material)
    work = _prepare(config, folder, network, attached, regime, accelerator, loader, step)
    work.validate, work.watch, work.snapshots = validate, watch, snapshots
    settled = max(config.training.warmup, config.warmup, config.training.steps // 20)
    work.incidents = Incidents(space.classes, console, settled)
    if checkpoint is not None:
        work.restore(checkpoint)
    from_main(lambda: trim_log(folder.log, work.step))
    work.incidents.recall(folder.log)
    label = f"training {config.method.name}"
    with (
        Reporter(console, label, config.training.steps, done=work.step) as reporter,
        _held(config, network, regime, accelerator),
    ):
        work.run(reporter)
    work.deploy()
    cost = _cost(config, network, attached, work, earlier)
    adapter, head = whole(attached.state_dict()), whole(head_state(work.network))

    def save() -> None:
        in_pieces = config.training.shard and process_count() > 1
        saved, trained = _unsharded(config, space, adapter) if in_pieces else (network, attached)
        _save_result(folder, saved, trained, head, cost)

    from_main(save)


def _loader(
    config: RunConfig, network: Network, material: Material, step: int, device: torch.device
) -> TrainingLoader | PairLoader:
    """This process's part of the batches after a step."""
    options = config.training
    first, last = step * options.accumulate, options.steps * options.accumulate
    workers = worker_count(options.workers, device, last - first, loaders=1 if material.targets is None else 2)

    def part(data: Sources, transform: TransformConfig, seed: int, **settings: Any) -> TrainingLoader:
        return training_loader(
            task_named(config.task),
            data.readers,
            transform,
            batch_size=options.batch_size,
            steps_from=first,
            steps_to=last,
            seed=seed,
            mean=network.loaded.mean,
            std=network.loaded.std,
            weights=data.weights,
            workers=workers,
            process_index=process_index(),
            process_count=process_count(),
            **settings,
        )

    sources = part(material.sources, config.transform, config.seed, rare=material.rare)
    if material.targets is None:
        return sources
    transform = config.target_transform or config.transform
    targets = part(_labelled(material), transform, config.seed + TARGET_SEED, skip_broken=options.skip_broken)
    return PairLoader(sources, targets)


def _labelled(material: Material) -> Sources:
    """The targets, with the pseudo-labels of an earlier round where there was one."""
    assert material.targets is not None
    folder = material.pseudo_labels
    if folder is None:
        return material.targets
    readers, classes = material.targets.readers, len(material.space)
    labelled: list[Reader] = [
        PseudoLabelled(reader, place, classes)
        for reader, place in zip(readers, label_folders(readers, folder), strict=True)
    ]
    return replace(material.targets, readers=labelled)


def _snapshots(config: RunConfig, folder: RunFolder, network: Network, material: Material) -> Snapshots | None:
    """Pictures of the pseudo-labels of a few target images, as the test protocol sees them."""
    if material.targets is None or not config.training.snapshots or config.task == "detection":
        return None
    predictor = predictor_for(config, network, material.space)
    return Snapshots(
        folder.pseudo_label_pictures,
        _pictured(material.targets.readers, skip_broken=config.training.skip_broken),
        lambda model, image: replace(predictor, model=model).probabilities(image),
        config.self_training.threshold,
    )


def _pictured(readers: Sequence[Reader], *, skip_broken: bool) -> list[Sample]:
    """A few target images, evenly spread over those of every target, under the name of its folder of labels."""
    samples = []
    for reader, place in zip(readers, label_folders(readers, Path()), strict=True):
        for index in evenly_spread(len(reader), ceil(PICTURED / len(readers))):
            try:
                samples.append(replace(reader[index], domain=place.name))
            except DataError:
                if not skip_broken:  # the training will say it, should it come to this image
                    raise
    return samples


def _prepare(
    config: RunConfig,
    folder: RunFolder,
    network: Network,
    attached: Attached,
    regime: Regime,
    accelerator: Accelerator,
    loader: TrainingLoader | PairLoader,
    done: int,
) -> Fit:
    options = config.training
    model = prepare_network(
        accelerator,
        regime.task,
        network.model,
        config.transform.crop,
        sharded=options.shard,
        compiled=_head(config).compiled if options.compile else None,
        judged=bool(options.watch) or config.deployed in ("best_source", "oracle"),
    )
    regime.prepare(accelerator, model, done)
    optimizer = build_optimizer(network.model, options, config.method.name)
    for group in regime.param_groups():
        optimizer.add_param_group(group)
    spec = method_spec(config.method.name)
    anneal = options.anneal_weight_decay
    return Fit(
        model=model,
        attached=attached,
        regime=regime,
        optimizer=optimizer,
        options=options,
        anneal=spec.anneals_weight_decay if anneal is None else anneal,
        accelerator=accelerator,
        loader=loader,
        folder=folder,
        base_sha256=network.base_sha256,
        seed=config.seed,
        deployed=config.deployed,
        precision=precision_for(options),
    )


@contextmanager
def _held(config: RunConfig, network: Network, regime: Regime, accelerator: Accelerator) -> Iterator[None]:
    """The frozen weights of the backbone in the precision of autocast, unless they are spread over processes.

    And its passes replayed where that can be.
    """
    low = None if config.training.shard else HALF.get(accelerator.mixed_precision)
    second = network.model if regime.teacher is None else regime.teacher.network  # of the teacher `ema` alone
    with ExitStack() as stack:
        for model in dict.fromkeys((network.model, second)):
            backbone = network.backbone if model is network.model else backbone_of(model)
            stack.enter_context(held_in(backbone, low))
            stack.enter_context(graphed(model, _head(config), config.training, accelerator.device))
        yield


def _head(config: RunConfig) -> Head:
    return task_named(config.task).heads.resolve(config.head.name)


def _cost(
    config: RunConfig, network: Network, attached: Attached, work: Fit, earlier: TrainingCost | None
) -> TrainingCost:
    """What the training took, with the rounds before it."""
    options, before = config.training, earlier or TrainingCost()
    steps = options.steps + (before.steps or 0)
    seconds = work.seconds + (before.seconds or 0)
    return TrainingCost(
        steps=steps,
        seconds=round(seconds, 2),
        images_per_second=round(steps * options.accumulate * options.batch_size / max(seconds, 1e-9), 2),
        peak_memory_mb=round(max(work.peak_memory_mb, before.peak_memory_mb or 0), 1),
        trained_parameters=sum(p.numel() for p in network.model.parameters() if p.requires_grad),
        total_parameters=network.parameters,
        device=str(work.accelerator.device),
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
