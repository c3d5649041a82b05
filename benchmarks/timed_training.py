"""A training of random weights on a random batch, of which every part of a step is timed and all memory counted."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter, process_time
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from minorkey.adapters import attach
from minorkey.adapters.held import held_in
from minorkey.config import RunConfig
from minorkey.data.sample import Batch, Pair
from minorkey.labels import label_space
from minorkey.models.build import backbone_of
from minorkey.models.heads.set_criterion import total
from minorkey.runs.assemble import build_network
from minorkey.runs.regime import build_regime, pretrained_parts
from minorkey.system.precision import HALF
from minorkey.training.device import accelerator_for
from minorkey.training.graphs import graphed
from minorkey.training.optim import build_optimizer
from minorkey.training.parallel import prepare_network

MB = 2**20
BLOCK = 32
"""Side of the squares of one class that random labels are made of, in pixels."""


class Clock:
    """Seconds of the parts of a step, one after the other, some with others inside that count for themselves."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.waits = True  # for the device at every look, without which parts on a GPU mean nothing, and which slows
        self.start()

    def start(self) -> None:
        """Forget, and begin anew."""
        self.parts: dict[str, float] = defaultdict(float)
        self.inside, self.last = 0.0, self._now()

    def lap(self, name: str) -> None:
        """What ran since the last lap was `name`."""
        now = self._now()
        self.parts[name] += now - self.last - self.inside
        self.inside, self.last = 0.0, now

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """What runs inside of the block is `name`."""
        began = self._now()
        yield
        taken = self._now() - began
        self.parts[name] += taken
        self.inside += taken

    def _now(self) -> float:
        if self.device.type == "cpu":
            return process_time()
        if self.waits:
            torch.cuda.synchronize(self.device)
        return perf_counter()


class Training:
    """A network in training, without loader, log and checkpoints."""

    def __init__(self, config: RunConfig) -> None:
        space = label_space(config.label_space)
        network = build_network(config, space)
        self.network = network.model
        self.accelerator = accelerator_for(config.training)
        self.network.to(self.accelerator.device)  # a GPU decomposes many times faster
        attached = attach(network.backbone, config.method, seed=config.seed)
        pretrained = pretrained_parts(config, network, attached, len(space))
        self.regime: Any = build_regime(config, network, attached, len(space), pretrained=pretrained, labelled=True)
        self.clock = Clock(self.accelerator.device)
        self.optimizer = build_optimizer(network.model, config.training, config.method.name)
        for group in self.regime.param_groups():
            self.optimizer.add_param_group(group)
        model = prepare_network(self.accelerator, self.regime.task, network.model, config.transform.crop, sharded=False)
        self.regime.prepare(self.accelerator, model)
        self.holding = hold(network.backbone, self.accelerator)
        head = self.regime.task.heads.resolve(config.head.name)
        self.holding.enter_context(graphed(network.model, head, config.training, self.accelerator.device))
        if (second := self.regime.teacher.network) is not network.model:  # that of the teacher `ema`
            self.holding.push(hold(backbone_of(second), self.accelerator))
            self.holding.enter_context(graphed(second, head, config.training, self.accelerator.device))
        self.teachers = self.regime.teachers()
        for name, teacher in self.teachers.items():
            teacher.installed = self._clocked(f"{name}, forward", teacher.installed)  # type: ignore[method-assign]
        self.batch = random_pair(config, len(space), self.accelerator.device)
        self.network.train()
        self.steps = 0

    def step(self) -> dict[str, float]:
        """Train on the batch; seconds of each part."""
        torch.manual_seed(self.steps)
        self.clock.start()
        self.optimizer.zero_grad()
        for losses in self.regime.losses(self.batch):
            name = next(iter(losses))
            self.clock.lap(f"{name}, forward")
            self.accelerator.backward(total(losses))
            self.clock.lap(f"{name}, backward")
        self.optimizer.step()
        self.clock.lap("optimizer")
        self.steps += 1
        self.regime.after_step(self.steps)
        self.clock.lap("average of the teacher")
        return dict(self.clock.parts)

    def held(self) -> dict[str, float]:
        """MB of weights, optimizer, teacher, anchor and gradients, each memory counted once."""
        modules = [self.network, *self.regime.modules().values()]
        weights = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        parts = {"weights": weights, "optimizer": [value for value in states if isinstance(value, Tensor)]}
        for name, teacher in self.teachers.items():
            network = teacher.network
            parts[name] = [*teacher.state_dict().values(), *network.parameters(), *network.buffers()]
        parts["gradients"] = [weight.grad for weight in weights if weight.grad is not None]
        seen: set[int] = set()
        return {name: sum(new_bytes(tensor, seen) for tensor in tensors) / MB for name, tensors in parts.items()}

    def _clocked(self, name: str, installed: Callable[[], Any]) -> Callable[[], Any]:
        @contextmanager
        def timed() -> Iterator[nn.Module]:
            with self.clock.within(name), installed() as network:
                yield network

        return timed


def hold(backbone: nn.Module, accelerator: Accelerator) -> ExitStack:
    """Keep frozen weights in the precision of autocast, as a run does; exact again once the result is closed."""
    holding = ExitStack()
    holding.enter_context(held_in(backbone, HALF.get(accelerator.mixed_precision)))
    return holding


def new_bytes(tensor: Tensor, seen: set[int]) -> int:
    """Bytes of the tensor's memory, 0 if it was counted."""
    storage = tensor.untyped_storage()
    if storage.data_ptr() in seen:
        return 0
    seen.add(storage.data_ptr())
    return storage.nbytes()


def random_pair(config: RunConfig, classes: int, device: torch.device) -> Pair:
    """Noise as images, squares as labels; those of the target stand for pseudo-labels."""
    height, width = config.transform.crop
    size, generator = config.training.batch_size, torch.Generator().manual_seed(0)

    def batch(domain: str) -> Batch:
        images = torch.randn(size, 3, height, width, generator=generator)
        coarse = torch.randint(classes, (size, height // BLOCK, width // BLOCK), generator=generator)
        labels = coarse.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)
        filled = torch.ones(size, height, width, dtype=torch.bool)
        names = [domain] * size
        return Batch(
            images.to(device), labels.to(device), names, names, clean=images.to(device), filled=filled.to(device)
        )

    return Pair(batch("source"), batch("target"))
