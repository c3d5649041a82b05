"""Replayed passes give what plain ones give: outputs, gradients, and their sums."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from tape import tapes
from torch import Tensor, nn

from minorkey.adapters import attach
from minorkey.adapters.held import held_in
from minorkey.errors import ModelError
from minorkey.models.backbone import load_backbone
from minorkey.models.build import Head, backbone_of
from minorkey.models.segmenters import SEGMENTATION_HEADS
from minorkey.tasks.segmentation.task import Segmentation
from minorkey.training.graphs import SEEN_BEFORE, captured_count, graphed, replayed
from minorkey.training.options import TrainingOptions

MASKS = {"name": "mask2former", "channels": 32, "queries": 5, "encoder_layers": 1, "decoder_layers": 2}


def adapted(config) -> nn.Module:
    backbone = load_backbone(config.backbone).network
    network = Segmentation().build(backbone, config.head, 7, seed=0)
    attach(backbone, config.method)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(0))
    return network.train()


def row(head: dict) -> Head:
    return SEGMENTATION_HEADS.resolve(head["name"])


def images(seed: int = 1, side: int = 32) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


def loss(network: nn.Module, pixels: Tensor, low: bool) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        output = network(pixel_values=pixels)
    logits = output.logits if "logits" in output else output.masks_queries_logits
    scores = output.class_queries_logits if "class_queries_logits" in output else logits
    return logits.float().square().mean() + scores.float().square().mean()


def steps(network: nn.Module, low: bool, count: int) -> list[dict[str, Tensor]]:
    """Two passes in each step, whose gradients add up, and weights that move after it."""
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1e-2)
    seen = []
    for index in range(count):
        torch.manual_seed(index)
        optimizer.zero_grad()
        losses = []
        for part in range(2):
            losses.append(loss(network, images(2 * index + part), low))
            losses[-1].backward()
        gradients = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
        optimizer.step()
        seen.append({"losses": torch.stack(losses).detach(), **gradients})
    return seen


def largest_difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    assert found.keys() == expected.keys()
    return max(float((found[name] - expected[name]).abs().max()) for name in expected)


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize(("method", "head"), [("soma", MASKS), ("full", {"name": "semfpn"})])
def test_replayed_steps_are_the_plain_ones(make_config, method, head, low):
    config = make_config(head=head, method=method)
    with held_in(backbone_of(network := adapted(config)), torch.bfloat16 if low else None):
        expected = steps(network, low, 3)
    network = adapted(config)
    with ExitStack() as stack:
        stack.enter_context(held_in(backbone_of(network), torch.bfloat16 if low else None))
        parts = [stack.enter_context(replayed(part, tapes)) for part in row(head).replayed(network)]
        found = steps(network, low, 3)
        assert all(len(part.captured) == 1 for part in parts)
    for one, other in zip(found, expected, strict=True):
        assert largest_difference(one, other) == 0


@pytest.mark.parametrize("head", [MASKS, {"name": "upernet"}, {"name": "segformer"}])
def test_nothing_that_is_captured_waits_for_a_gpu(make_config, head, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from device_waits import Waits, counted

    network, waits = adapted(make_config(head=head)), Waits()
    with ExitStack() as stack:
        for part in row(head).replayed(network):
            stack.enter_context(replayed(part, lambda: tapes(lambda: counted(waits))))
        steps(network, True, 2)
        assert captured_count(network) == len(row(head).replayed(network))
    assert not waits.total, waits.places


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).relu()


def known(module: nn.Module, x: Tensor) -> None:
    for _ in range(SEEN_BEFORE + 1):
        module(x).sum().backward()
    module.zero_grad()


def test_a_pass_whose_way_back_is_open_is_not_overwritten():
    module, x = Tiny(), torch.ones(2, 3)
    with replayed(module, tapes) as passes:
        known(module, x)
        first, second = module(x), module(5 * x)
        (first.sum() + 2 * second.sum()).backward()
        assert len(passes.captured) == 1
    found, module.layer.weight.grad = module.layer.weight.grad, None
    (module(x).sum() + 2 * module(5 * x).sum()).backward()
    assert torch.allclose(found, module.layer.weight.grad)


def test_other_sizes_modes_weights_and_hooks_are_no_replays():
    module, x = Tiny(), torch.ones(2, 3)
    with replayed(module, tapes) as passes:
        known(module, x)
        assert module(x[:1]).shape == (1, 3)
        with torch.inference_mode():
            assert torch.equal(module(2 * x), torch.relu(2 * x @ module.layer.weight.T + module.layer.bias))
        own, module.layer.weight.data = module.layer.weight.data, torch.zeros(3, 3)
        assert torch.equal(module(x), module.layer.bias.relu().expand(2, 3))
        module.layer.weight.data = own
        handle = module.layer.register_forward_hook(lambda *_: torch.full((2, 3), 7.0))
        assert torch.equal(module(x), torch.full((2, 3), 7.0))
        handle.remove()
        assert len(passes.captured) == 1
    assert "forward" not in vars(module)


def test_a_model_as_a_whole_is_refused_in_one_line():
    class Whole(Head):
        def on(self, backbone, num_labels, options, seed):
            return backbone

        def replayed(self, model):
            return [model]

    module = Tiny()
    module.forward = module.forward  # as what casts the outputs of a model has it
    options = TrainingOptions()
    expected = r"cannot replay Tiny, whose forward .*training\.cuda_graphs=false"
    with pytest.raises(ModelError, match=expected), graphed(module, Whole(), options, torch.device("cuda")):
        pass


class Reading(Tiny):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[x.sum(1).nonzero()[:, 0]]


def test_what_cannot_be_captured_says_so_once_and_trains():
    module, x = Reading(), torch.ones(2, 3)
    with replayed(module, tapes) as passes:
        with pytest.warns(UserWarning, match="Reading trains without CUDA graphs .*nonzero.* while capturing"):
            known(module, x)
        module(x).sum().backward()
        assert not passes.captured
        assert module.layer.weight.grad is not None


def test_nothing_is_replayed_without_a_gpu():
    module = Tiny()
    with graphed(module, row({"name": "linear"}), TrainingOptions(), torch.device("cpu")):
        assert "forward" not in vars(module)


class Dropping(Tiny):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if torch.rand([]) < 0.5 else x


def test_what_draws_on_the_host_is_not_captured():
    module, x = Dropping(), -torch.ones(2, 3)
    torch.manual_seed(0)
    with replayed(module, tapes) as passes, pytest.warns(UserWarning, match="random numbers are drawn on the host"):
        found = [module(x) for _ in range(8)]
    torch.manual_seed(0)
    assert all(torch.equal(one, module(x)) for one in found)
    assert not passes.captured


class Sending(Tiny):
    def __init__(self) -> None:
        super().__init__()
        self.middle = 0.0

    def forward(self, x: Tensor) -> Tensor:
        values = np.zeros(3000)
        values[1500] = self.middle
        return super().forward(x) + torch.as_tensor(data=values, device=x.device).sum()


def test_long_arrays_that_are_sent_are_told_apart():
    module, x = Sending(), torch.ones(2, 3)
    with replayed(module, tapes):
        first = module(x)
        module.middle = 1.0
        assert torch.allclose(module(x), first + 1)


class Given(Tiny):
    def forward(self, x: Tensor, shift: np.ndarray) -> Tensor:
        return super().forward(x) + float(shift[0])


def test_a_pass_that_is_given_more_than_tensors_and_numbers_is_not_replayed():
    module, x, shift = Given(), torch.ones(2, 3), np.zeros(1)
    with replayed(module, tapes) as passes:
        first = [module(x, shift) for _ in range(SEEN_BEFORE + 2)][-1]
        shift += 1
        assert torch.allclose(module(x, shift), first + 1)
        assert not passes.captured
