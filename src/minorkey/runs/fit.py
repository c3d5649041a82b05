"""One training in three parts: assembled from its configuration, run, and what it gave saved."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console

from minorkey.adapters.held import held_in
from minorkey.adapters.specs import method_spec
from minorkey.config import RunConfig, completed, saved_values
from minorkey.errors import ConfigError
from minorkey.evaluation.scores import TrainingCost
from minorkey.models.build import Head, backbone_of
from minorkey.runs.learner import Learner, build_learner
from minorkey.runs.load import predictor_for
from minorkey.runs.loading import open_batches, pictured
from minorkey.runs.material import Material
from minorkey.runs.save import save_result, training_cost
from minorkey.runs.validate import validation, watching
from minorkey.system.outside import OUTSIDE
from minorkey.system.precision import HALF
from minorkey.system.processes import from_main, together
from minorkey.system.progress import Reporter
from minorkey.system.run_folder import RunFolder
from minorkey.system.saved_config import changed, differing_keys
from minorkey.tasks.table import task_named
from minorkey.training.checkpoint import Checkpoint, checkpoints, log_intact, newest_checkpoint
from minorkey.training.device import accelerator_for, precision_for
from minorkey.training.fit import Fit
from minorkey.training.graphs import graphed
from minorkey.training.incidents import Incidents
from minorkey.training.loop import Loop
from minorkey.training.optim import build_optimizer
from minorkey.training.parallel import prepare_network
from minorkey.training.snapshots import Snapshots
from minorkey.training.state import State
from minorkey.training.tracking import tracking


def fit(
    config: RunConfig,
    folder: RunFolder,
    material: Material,
    console: Console,
    earlier: TrainingCost | None = None,
    *,
    saved: RunConfig | None = None,
) -> None:
    """Train to the end, from the last checkpoint in `folder` if there is one, and save the result there.

    Args:
        config: of the run, or of a round of it.
        folder: its folder.
        material: what it learns from.
        console: where progress is shown.
        earlier: what the rounds before it took together, which counts as well.
        saved: the configuration that is saved in the folder; None: that of `config`.

    Raises:
        MinorkeyError: the training cannot begin or go on; one line says what to do.
    """
    identity = saved_values(saved or config)
    from_main(lambda: checkpoints(folder.checkpoints))  # brings back what a crash left under another name
    with together():
        accelerator = accelerator_for(config.training)
        checkpoint = _go_on_from(folder, identity, console)
        labelled = material.pseudo_labels is not None
        learner = build_learner(config, material.space, accelerator.device, checkpoint, labelled=labelled)
    described = describe(config, folder, material, console, learner, accelerator)
    label = f"training {config.method.name}"
    with (
        tracking(config.training.track, folder, identity, console, learner.done) as tracked,
        Reporter(console, label, config.training.steps, done=learner.done) as reporter,
        _own_draws(accelerator.device),
        _held(config, learner, accelerator),
    ):
        loop = Loop(replace(described, track=tracked.note, config=identity), learner.checkpoint)
        loop.run(reporter)
    if loop.state.stopped:
        console.print(_ended_early(loop.state), highlight=False, soft_wrap=True)
    loop.state.deploy()
    cost = training_cost(config, learner, loop.state, accelerator.device, earlier)
    save_result(config, material.space, learner, folder, cost, identity)


def _own_draws(device: torch.device) -> AbstractContextManager[None]:
    """What a training draws is by its own seed; whoever called it goes on with theirs."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def _ended_early(state: State) -> str:
    options, best = state.fit.options, state.best.step
    return (
        f"ended after step {state.step} of {options.steps}: {options.patience} judgements on the source were no better "
        f"than that of step {best}, whose weights are kept (training.patience)"
    )


def _go_on_from(folder: RunFolder, identity: Mapping[str, Any], console: Console) -> Checkpoint | None:
    """The newest sound checkpoint of the same run, if there is one.

    Raises:
        ConfigError: it was written under another configuration.
        StorageError: there are checkpoints, and all of them are damaged.
    """

    def tell(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True, markup=False)

    checkpoint = newest_checkpoint(folder.checkpoints, tell)
    if checkpoint is None:
        if folder.log.is_file():
            tell(f"there is no checkpoint in '{folder.checkpoints}': the training begins with its first step")
        return None
    if checkpoint.config and (keys := differing_keys(completed(checkpoint.config), identity)):
        raise ConfigError(changed(folder, keys))
    if not log_intact(folder.log, checkpoint):
        tell(f"'{folder.log}' has changed since step {checkpoint.step}: its curves are not to be trusted; weights are")
    return checkpoint


def describe(
    config: RunConfig,
    folder: RunFolder,
    material: Material,
    console: Console,
    learner: Learner,
    accelerator: Accelerator,
) -> Fit:
    """The training as its configuration describes it."""
    options, network, regime = config.training, learner.network, learner.regime
    with together():
        validate = validation(config, network, material.space, console)
        watch = watching(config, network, material.space)
        loader = open_batches(config, material, network.loaded, done=learner.done, device=accelerator.device)
        snapshots = _snapshots(config, folder, learner, material)
    model = prepare_network(
        accelerator,
        regime.task,
        network.model,
        config.transform.crop,
        sharded=options.shard,
        compiled=_head(config).compiled if options.compile else None,
        judged=watch is not None or validate is not None,
    )
    regime.prepare(accelerator, model, learner.done)
    optimizer = build_optimizer(network.model, options, config.method.name)
    for group in regime.param_groups():
        optimizer.add_param_group(group)
    anneals = options.anneal_weight_decay
    settled = max(options.warmup, config.warmup, options.steps // 20)
    return Fit(
        model=model,
        attached=learner.attached,
        regime=regime,
        optimizer=optimizer,
        options=options,
        anneal=method_spec(config.method.name).anneals_weight_decay if anneals is None else anneals,
        accelerator=accelerator,
        loader=loader,
        folder=folder,
        base_sha256=network.base_sha256,
        seed=config.seed,
        deployed=config.deployed,
        precision=precision_for(options),
        incidents=Incidents(material.space.classes, console, settled),
        snapshots=snapshots,
        validate=validate,
        rank=regime.task.metric(config.metric).rank,
        watch=watch,
    )


def _snapshots(config: RunConfig, folder: RunFolder, learner: Learner, material: Material) -> Snapshots | None:
    """Pictures of the pseudo-labels of a few target images, as the test protocol sees them."""
    pictured_labels = learner.regime.teacher is not None and learner.regime.task.pictured
    if material.targets is None or not config.training.snapshots or not pictured_labels:
        return None
    predictor = predictor_for(config, learner.network, material.space)
    return Snapshots(
        folder.pseudo_label_pictures,
        pictured(material.targets.readers, skip_broken=config.training.skip_broken),
        lambda model, image: replace(predictor, model=model).probabilities(image),
        config.self_training.threshold,
    )


@contextmanager
def _held(config: RunConfig, learner: Learner, accelerator: Accelerator) -> Iterator[None]:
    """The frozen weights of the backbone in the precision of autocast, unless they are spread over processes.

    Nor those of a network of one's own, parts of which may be computed without autocast. And its passes replayed where
    that can be.
    """
    apart = config.training.shard or OUTSIDE.fullmatch(config.backbone.name)
    low = None if apart else HALF.get(accelerator.mixed_precision)
    network, teacher = learner.network, learner.regime.teacher
    second = network.model if teacher is None else teacher.network  # of the teacher `ema` alone
    with ExitStack() as stack:
        for model in dict.fromkeys((network.model, second)):
            backbone = network.backbone if model is network.model else backbone_of(model)
            stack.enter_context(held_in(backbone, low, model))
            stack.enter_context(graphed(model, _head(config), config.training, accelerator.device))
        yield


def _head(config: RunConfig) -> Head:
    return task_named(config.task).heads.resolve(config.head.name)
