"""A network made ready to be trained by one process or by many."""

from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn
from transformers import PreTrainedModel

from minorkey.models.batch_norm import globalise
from minorkey.models.build import backbone_of
from minorkey.models.channels import channels_of
from minorkey.models.compiling import compile_network
from minorkey.models.heads.set_criterion import total
from minorkey.system.processes import process_count
from minorkey.tasks.base import Task
from minorkey.training.sharding import shard


def prepare_network(
    accelerator: Accelerator,
    task: Task,
    network: PreTrainedModel,
    crop: tuple[int, int],
    *,
    sharded: bool,
    compiled: Callable[[Any], nn.Module] | None = None,
    judged: bool = False,
) -> nn.Module:
    """The network on its device and in its precision; with several processes, wrapped to average their gradients.

    Args:
        accelerator: device, precision and processes.
        task: what it learns.
        network: what trains in it requires gradients already.
        crop: height and width of the training images, in pixels.
        sharded: spread it over the processes.
        compiled: the part of it whose passes are compiled, `Head.compiled`; not where it is sharded. None: none.
        judged: between steps too, in a precision of its own: a sharded network then keeps float32.
    """
    if process_count() == 1:
        if compiled:
            compile_network(compiled(network))
        return accelerator.prepare_model(network)
    globalise(network)
    network.to(accelerator.device)
    if sharded:
        accelerator.prepare_model(network, evaluation_mode=True)  # in its precision, and in no wrapper
        low = accelerator.mixed_precision == "bf16" and not judged
        shard(network, accelerator.device, param_dtype=torch.bfloat16 if low else None)
        return network
    # A search for what gets no gradient in every step is slow, and pointless where there is nothing to find.
    idle = parameters_without_gradient(network, trial_loss(task, network, crop, accelerator.device))
    accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=bool(idle))
    if compiled:
        compile_network(compiled(network))  # after the trial, which is of another size
    return accelerator.prepare_model(network)


def parameters_without_gradient(network: nn.Module, loss: Tensor) -> list[str]:
    """Names of the trained parameters that a loss does not depend on, such as those after the last feature map."""
    reached, nodes, seen = set(), [loss.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        reached.add(id(getattr(node, "variable", None)))  # only the leaves of the graph have one
        nodes += [function for function, _ in node.next_functions]
    return [name for name, p in network.named_parameters() if p.requires_grad and id(p) not in reached]


def trial_loss(task: Task, network: PreTrainedModel, crop: tuple[int, int], device: torch.device | str) -> Tensor:
    """The loss on a trial batch, in evaluation mode, so that no running statistics change; for its graph alone.

    It is the real loss, for which matchers need real values, but what a backward pass would need is let go of: it takes
    the memory of a prediction, not of a training step.
    """
    network.eval()
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: None, _not_kept):
        return total(task.loss(network, task.trial(crop, device, channels_of(backbone_of(network)))))


def _not_kept(nothing: None) -> Tensor:
    raise AssertionError("nothing is kept of a trial, so there is no way back")
