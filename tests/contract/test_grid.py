"""Every method on every family: what attach, fold and save promise. The run prints the grid as a table."""

import copy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from families import FAMILIES, Family
from peft import PeftModel
from stand_in import train
from torch import Tensor, nn

from minorkey.adapters import METHODS, MethodOptions, attach, fold, save_adapter, weights_sha256
from minorkey.adapters.norms import is_norm
from minorkey.adapters.targets import find_targets

EVERYWHERE = {"soma", "norm"}
"""Methods that read or replace layers each in its own way; most others differ from them in how they start."""
ALL_ON = {"dinov2", "convnext", "resnet", "vitdet"}
"""Families that have every kind of layer: queries, keys and values apart and fused, products and kernels."""
GRID = [
    pytest.param(method, family, marks=() if method in EVERYWHERE or family in ALL_ON else pytest.mark.thorough)
    for method in METHODS
    for family in FAMILIES
]

RANK, ALPHA = 2, 3.0
TOLERANCE = 1e-5  # of the largest value of the output


@dataclass
class Cell:
    """One method on one family."""

    family: Family
    method: str

    def __post_init__(self) -> None:
        torch.set_num_threads(1)
        self.pretrained = self.family.build()
        self.network = copy.deepcopy(self.pretrained)
        self.inputs = self.family.inputs()
        self.options = MethodOptions(name=self.method, rank=RANK, alpha=ALPHA)

    def outputs(self, network: nn.Module) -> list[Tensor]:
        return self.family.outputs(network, self.inputs)

    def difference(self, one: list[Tensor], other: list[Tensor]) -> float:
        """Largest difference, relative to the largest value."""
        gaps = [(a - b).abs().max() / b.abs().max() for a, b in zip(one, other, strict=True)]
        return max(gap.item() for gap in gaps)

    def expected_to_train(self, layers: tuple[str, ...]) -> set[str]:
        """Names of what should train, said once more and differently."""
        names = dict(self.pretrained.named_parameters())
        spec = METHODS[self.method]
        if spec.trains == "biases":
            return {name for name in names if name.endswith("bias")}
        if spec.trains == "norms":
            norms = [name for name, module in self.pretrained.named_modules() if is_norm(module)]
            return {name for name in names if name.rpartition(".")[0] in norms}
        if spec.trains != "adapter":
            return set(names) if spec.trains == "everything" else set()
        kinds = ["A"] if self.method == "mica" else ["A", "B"]
        expected = {f"{layer}.lora_{kind}.default.weight" for layer in layers for kind in kinds}
        if self.method == "dora":
            expected |= {f"{layer}.lora_magnitude_vector.default.weight" for layer in layers}
        if spec.trains_biases:
            expected |= {f"{layer}.base_layer.bias" for layer in layers if self.has_bias(layer)}
        return expected

    def unreached(self) -> set[str]:
        """Parameters of the pretrained network that its outputs do not depend on."""
        network = copy.deepcopy(self.pretrained).requires_grad_(True)
        sum(output.square().mean() for output in self.outputs(network)).backward()
        return {name for name, parameter in network.named_parameters() if parameter.grad is None}

    def has_bias(self, layer: str) -> bool:
        targets = {target.name: target for target in find_targets(self.pretrained)}
        return targets[layer].module.bias is not None


def _check_gradients(cell: Cell, layers: tuple[str, ...]) -> None:
    """Gradients reach what should train, and nothing else asks for one."""
    if cell.method != "frozen":
        sum(output.square().mean() for output in cell.outputs(cell.network)).backward()
    asked = {name for name, p in cell.network.named_parameters() if p.requires_grad}
    reached = {name for name, p in cell.network.named_parameters() if p.grad is not None}
    cell.network.zero_grad()
    if METHODS[cell.method].trains == "norms":
        asked = {name.replace(".ln_tuning_layers.default.", ".") for name in asked}
        reached = {name.replace(".ln_tuning_layers.default.", ".") for name in reached}
    assert asked == cell.expected_to_train(layers)
    # What no output depends on (a final norm, a mask token) is not reached in the pretrained network either.
    assert asked - reached == asked & cell.unreached()


def _check_stock_peft(cell: Cell, attached, trained: list[Tensor], folder: Path) -> None:
    """A process with PEFT alone gets the same function from the untouched network, and can merge it."""
    save_adapter(cell.network, attached, folder, weights_sha256(cell.pretrained))
    adapted = PeftModel.from_pretrained(copy.deepcopy(cell.pretrained), folder).eval()
    assert cell.difference(cell.outputs(adapted.base_model.model), trained) <= TOLERANCE
    merged = adapted.merge_and_unload()
    assert cell.difference(cell.outputs(merged), trained) <= TOLERANCE
    assert list(merged.state_dict()) == list(cell.pretrained.state_dict())


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("method", "family"), GRID)
def test_contract(method: str, family: str, tmp_path: Path, record_property) -> None:
    cell = Cell(FAMILIES[family], method)
    record_property("grid", (method, family))
    before = cell.outputs(cell.pretrained)

    attached = attach(cell.network, cell.options)
    start = cell.difference(cell.outputs(cell.network), before)
    assert (start <= TOLERANCE) == METHODS[method].keeps_output
    _check_gradients(cell, attached.layers)

    train(cell.network)
    with torch.no_grad():
        trained = cell.outputs(cell.network)
    assert (cell.difference(trained, before) > 1e-4) == (method != "frozen")
    saved = "no adapter: weights are saved"
    if attached.layers:
        _check_stock_peft(cell, attached, trained, tmp_path / "adapter")
        saved = "ok"
    fold(cell.network)
    assert cell.difference(cell.outputs(cell.network), trained) <= TOLERANCE
    shapes = {name: tensor.shape for name, tensor in cell.pretrained.state_dict().items()}
    assert {name: tensor.shape for name, tensor in cell.network.state_dict().items()} == shapes
    assert list(map(type, cell.network.modules())) == list(map(type, cell.pretrained.modules()))
    record_property("cell", saved)
