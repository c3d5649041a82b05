"""What a training leaves behind: the weights it deploys and what they took."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from minorkey.adapters import Attached, attach, save_adapter
from minorkey.adapters.convert import PROVENANCE
from minorkey.config import RunConfig
from minorkey.evaluation.scores import TrainingCost
from minorkey.labels import LabelSpace
from minorkey.models.build import head_state
from minorkey.runs.assemble import Network, build_network
from minorkey.runs.learner import Learner
from minorkey.system.processes import from_main, process_count
from minorkey.system.run_folder import RunFolder
from minorkey.system.saved_config import CONFIG, config_sha256
from minorkey.system.sealed import files_below, write_sealed
from minorkey.system.storage import write_tensors
from minorkey.training.sharding import whole
from minorkey.training.state import State


def training_cost(
    config: RunConfig, learner: Learner, state: State, device: torch.device, earlier: TrainingCost | None
) -> TrainingCost:
    """What the training took, with the rounds before it."""
    options, before = config.training, earlier or TrainingCost()
    steps = state.step + (before.steps or 0)
    if not steps:  # nothing was learnt: what the run begins with is judged
        return TrainingCost(
            steps=0, trained_parameters=0, total_parameters=learner.network.parameters, seed=config.seed
        )
    seconds = state.seconds + (before.seconds or 0)
    return TrainingCost(
        steps=steps,
        seconds=round(seconds, 2),
        images_per_second=round(steps * options.accumulate * options.batch_size / max(seconds, 1e-9), 2),
        peak_memory_mb=round(max(state.peak_memory_mb, before.peak_memory_mb or 0), 1),
        trained_parameters=sum(p.numel() for p in learner.network.model.parameters() if p.requires_grad),
        total_parameters=learner.network.parameters,
        device=str(device),
        learning_rate=options.backbone_rate(config.method.name) if learner.attached.trained_count else options.lr,
        seed=config.seed,
    )


def save_result(
    config: RunConfig,
    space: LabelSpace,
    learner: Learner,
    folder: RunFolder,
    cost: TrainingCost,
    identity: Mapping[str, Any],
) -> None:
    """Write the trained weights, and last what the training took. All processes call this at one time.

    Args:
        config: of the run, or of a round of it.
        space: its classes.
        learner: what has learnt.
        folder: its folder.
        cost: what the training took.
        identity: the configuration that is saved in the folder.

    Raises:
        StorageError: a file cannot be written.
    """
    adapter, head = whole(learner.attached.state_dict()), whole(head_state(learner.network.model))

    def save() -> None:
        in_pieces = config.training.shard and process_count() > 1
        network, attached = _whole(config, space, adapter) if in_pieces else (learner.network, learner.attached)
        files = [folder.head.name]
        if attached.layers:
            save_adapter(network.backbone, attached, folder.adapter, network.base_sha256)
            files.append(f"{folder.adapter.name}/{PROVENANCE}")
        beside = attached.trained_tensors()
        if attached.layers:
            beside = {name: beside[name] for name in network.also if name in beside}
        if beside:
            write_tensors(folder.backbone, beside)
            files.append(folder.backbone.name)
        write_tensors(folder.head, head, {"base_weights_sha256": network.base_sha256})
        if pictures := files_below(folder.pseudo_label_pictures, folder.pictured.parent):
            write_sealed(folder.pictured, {}, pictures, ordered=False)
        files += [file.relative_to(folder.path).as_posix() for file in (folder.log, folder.pictured) if file.is_file()]
        values = cost.model_dump(mode="json") | {CONFIG: config_sha256(identity)}
        write_sealed(folder.cost, values, files)

    from_main(save)


def _whole(config: RunConfig, space: LabelSpace, adapter: dict[str, Tensor]) -> tuple[Network, Attached]:
    """The network anew on the CPU, with what training made of its backbone: the one that trained is in pieces."""
    network = build_network(config, space)
    state = {name: value.cpu() for name, value in adapter.items()}
    return network, attach(network.backbone, config.method, seed=config.seed, state=state, also=network.also)
