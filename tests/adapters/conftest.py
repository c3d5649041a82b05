"""Small random backbones, one per naming scheme, the built-in one, and the real ViT-Tiny where it is at hand."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import stand_in
import torch
from torch import Tensor, nn
from transformers import (
    BeitBackbone,
    BeitConfig,
    ConvNextBackbone,
    ConvNextConfig,
    Dinov2Backbone,
    Dinov2Config,
    Dinov2WithRegistersBackbone,
    Dinov2WithRegistersConfig,
    SwinBackbone,
    SwinConfig,
)

from minorkey.models.backbone import builtin_backbone, load_backbone
from minorkey.models.options import BackboneOptions

BUILTIN = builtin_backbone()
VIT_TINY = Path(__file__).parents[3] / "shared" / "weights" / "vit-tiny-in1k"

VIT = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "patch_size": 8}


def _dinov2() -> nn.Module:
    return Dinov2Backbone(Dinov2Config(**VIT, image_size=32))


def _dinov2_gated() -> nn.Module:
    return Dinov2WithRegistersBackbone(Dinov2WithRegistersConfig(**VIT, image_size=32, use_swiglu_ffn=True))


def _beit() -> nn.Module:
    return BeitBackbone(BeitConfig(**VIT, image_size=32, intermediate_size=48, out_indices=[3]))


def _swin() -> nn.Module:
    return SwinBackbone(SwinConfig(embed_dim=16, depths=[1, 2], num_heads=[2, 2], image_size=32, window_size=4))


def _convnext() -> nn.Module:
    return ConvNextBackbone(ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 2], num_stages=2))


TINY = {
    "dinov2": _dinov2,
    "dinov2_gated": _dinov2_gated,
    "beit": _beit,
    "swin": _swin,
    "convnext": _convnext,
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def tiny() -> Callable[[str], nn.Module]:
    """Build a tiny backbone of an architecture; every parameter is random, biases and scales included."""

    def build(architecture: str) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(7)
            backbone = TINY[architecture]().eval()
            with torch.no_grad():
                for parameter in backbone.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
        return backbone

    return build


@pytest.fixture(params=TINY)
def small_backbone(request: pytest.FixtureRequest, tiny: Callable[[str], nn.Module]) -> nn.Module:
    """Every tiny backbone, in turn."""
    return tiny(request.param)


REAL = {"builtin": BUILTIN, "vit-tiny": VIT_TINY}


@pytest.fixture(params=[*TINY, *(pytest.param(name, marks=pytest.mark.thorough) for name in REAL)])
def backbone(request: pytest.FixtureRequest, tiny: Callable[[str], nn.Module]) -> nn.Module:
    """Every tiny backbone and the pretrained ones, in turn."""
    if request.param in TINY:
        return tiny(request.param)
    folder = REAL[request.param]
    if not folder.is_dir():
        pytest.skip(f"no pretrained backbone at {folder}")
    return load_backbone(BackboneOptions(name=str(folder))).network


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def features(image: Tensor) -> Callable[[nn.Module], Tensor]:
    """Last feature map of a backbone, channels normalised as heads see them, evaluated in double precision.

    Values of a deep pre-norm ViT reach 500, and its own float32 rounding then passes 1e-5. In double
    precision what is left is the difference of the weights.
    """

    @torch.no_grad()
    def run(backbone: nn.Module) -> Tensor:
        last = copy.deepcopy(backbone).double()(image.double()).feature_maps[-1]
        return nn.functional.layer_norm(last.movedim(1, -1), last.shape[1:2])

    return run


@pytest.fixture
def train() -> Callable[[nn.Module], None]:
    """Stands in for training: moves every parameter that requires gradients, at random."""
    return stand_in.train
