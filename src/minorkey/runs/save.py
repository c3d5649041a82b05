"""What a training leaves behind: the weights it deploys and what they took."""

import torch
from torch import Tensor

from minorkey.adapters import Attached, attach, save_adapter
from minorkey.config import RunConfig
from minorkey.evaluation.scores import TrainingCost
from minorkey.labels import LabelSpace
from minorkey.models.build import head_state
from minorkey.runs.assemble import Network, build_network
from minorkey.runs.learner import Learner
from minorkey.system.processes import from_main, process_count
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import write_json, write_tensors
from minorkey.training.sharding import whole
from minorkey.training.state import State


def training_cost(
    config: RunConfig, learner: Learner, state: State, device: torch.device, earlier: TrainingCost | None
) -> TrainingCost:
    """What the training took, with the rounds before it."""
    options, before = config.training, earlier or TrainingCost()
    steps = options.steps + (before.steps or 0)
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


def save_result(config: RunConfig, space: LabelSpace, learner: Learner, folder: RunFolder, cost: TrainingCost) -> None:
    """Write the trained weights, and last what the training took. All processes call this at one time.

    Raises:
        StorageError: a file cannot be written.
    """
    adapter, head = whole(learner.attached.state_dict()), whole(head_state(learner.network.model))

    def save() -> None:
        in_pieces = config.training.shard and process_count() > 1
        network, attached = _whole(config, space, adapter) if in_pieces else (learner.network, learner.attached)
        if attached.layers:
            save_adapter(network.backbone, attached, folder.adapter, network.base_sha256)
        elif attached.trained_count:
            write_tensors(folder.backbone, attached.trained_tensors())
        write_tensors(folder.head, head, {"base_weights_sha256": network.base_sha256})
        write_json(folder.cost, cost.model_dump(mode="json"))

    from_main(save)


def _whole(config: RunConfig, space: LabelSpace, adapter: dict[str, Tensor]) -> tuple[Network, Attached]:
    """The network anew on the CPU, with what training made of its backbone: the one that trained is in pieces."""
    network = build_network(config, space)
    state = {name: value.cpu() for name, value in adapter.items()}
    return network, attach(network.backbone, config.method, seed=config.seed, state=state)
