"""A head around a pretrained backbone: how a row of a table builds it, and what of a model is the head."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from minorkey.catalog import Catalog
from minorkey.errors import AdapterError
from minorkey.models.heads.segmentation.eomt import EOMT_MODELS, SCHEDULE, EomtEncoder
from minorkey.models.options import HeadOptions
from minorkey.models.pyramid import PyramidBackbone, PyramidConfig
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import read_metadata, read_tensors
from minorkey.system.tensors import check_tensors

PYRAMID_STRIDES = (4, 8, 16, 32)

Build = Callable[[PyramidConfig, int, int, HeadOptions], PreTrainedModel]
"""From feature maps, K and a width to a model with random weights; its `backbone_config` is the first argument."""


def nothing(model: nn.Module) -> list[nn.Module]:
    """No part of a model (`PyramidHead.fixed`)."""
    return []


@dataclass(frozen=True, kw_only=True)
class Head(ABC):
    """A row: how a head is put on a pretrained backbone, and what is to be known of it.

    Args:
        compiled: the part of a model whose passes are one graph for `torch.compile`; None: they branch on values, or
            are read through hooks, which a graph forgets.
        smallest_batch: images that it needs at a time to learn, 2 where it normalises over the batch.
        holds_backbone: the model has the backbone's layers inside, under names of its own, and is one of transformers
            as it is.
        own_class: of a model whose class is of transformers: the one of ours that it is exported in, where its
            backbone is none of theirs.
        own_loss: its model has a criterion of its own, where other heads of the task learn by `HeadOptions.loss`.
        one_size: its model takes images of the size of its training crops alone.
    """

    compiled: Callable[[Any], nn.Module] | None = None
    smallest_batch: int = 1
    holds_backbone: bool = False
    own_class: type[PreTrainedModel] | None = None
    own_loss: bool = False
    one_size: bool = False

    def layers_inside(self, backbone: PreTrainedModel) -> Mapping[str, str]:
        """Name of each layer in the model's copy of a backbone -> in the backbone, where the model holds one."""
        return {}

    def stock(self, model: PreTrainedModel) -> PreTrainedModel | None:
        """The same model, with these weights, as a class of transformers; None: there is none."""
        return None

    @abstractmethod
    def on(self, backbone: PreTrainedModel, num_labels: int, options: HeadOptions, seed: int) -> PreTrainedModel:
        """A model of a loaded backbone and a head that starts from `seed`; the global generator is seeded.

        Raises:
            ModelError: the head cannot be built as asked, or not on this backbone.
        """

    def replayed(self, model: nn.Module) -> list[nn.Module]:
        """The parts of a model whose passes CUDA graphs may replay: what no sizes that only a batch knows go into.

        Parts inside of the model, not the model as a whole.
        """
        return []


@dataclass(frozen=True, kw_only=True)
class PyramidHead(Head):
    """A head on feature maps, around the backbone that was given, wrapped in a `PyramidBackbone`.

    Args:
        build: the model, whose `PyramidBackbone` then makes way for the pretrained one.
        channels: its width, unless the options name one.
        strides: of the feature maps, as many as the backbone gives; None: as it gives them.
        fixed: the parts of a model that CUDA graphs may replay beside its backbone. Not criteria, which match on the
            host, nor decoders of a DETR, whose denoising queries are as many as objects.
    """

    build: Build
    channels: int = 128
    strides: tuple[int, ...] | None = PYRAMID_STRIDES
    fixed: Callable[[Any], Sequence[nn.Module]] = nothing

    def on(self, backbone: PreTrainedModel, num_labels: int, options: HeadOptions, seed: int) -> PreTrainedModel:
        """A model around the backbone."""
        pyramid = PyramidBackbone.around(backbone, self.strides_of(len(backbone.config.out_features)))
        torch.default_generator.manual_seed(seed)  # of the CPU alone, which is put back
        model = self.build(pyramid.config, num_labels, options.channels or self.channels, options)
        model.set_submodule(pyramid_in(model)[0], pyramid)  # the pretrained one in place of a random one
        return model

    def strides_of(self, maps: int) -> list[int] | None:
        """Strides that so many feature maps are brought to; None: none."""
        return None if self.strides is None else list(self.strides[:maps])

    def replayed(self, model: nn.Module) -> list[nn.Module]:
        """The backbone, and what is fixed of the head."""
        return [backbone_of(model), *self.fixed(model)]


def head_catalog(rows: Mapping[str, Head]) -> Catalog[Head]:
    """The heads of a task by name, and anyone's own."""
    return Catalog("head", rows, "a minorkey.models.build.Head", lambda part: isinstance(part, Head))


def whole(model: nn.Module) -> nn.Module:
    """The model: all of it is one graph (`Head.compiled`)."""
    return model


def pyramid_in(model: nn.Module) -> tuple[str, PyramidBackbone]:
    """The pyramid inside a model that a head was built around, and where it is."""
    return next((name, module) for name, module in model.named_modules() if isinstance(module, PyramidBackbone))


def backbone_of(model: nn.Module) -> nn.Module:
    """The pretrained part of a model of this package: what an adapter goes to and what a head is not.

    Wherever the model keeps it: the network inside its `PyramidBackbone`, or an `EomtEncoder` of an EoMT's modules.
    """
    if isinstance(model, EOMT_MODELS):
        return EomtEncoder(model)
    return pyramid_in(model)[1].backbone


def load_head(model: nn.Module, run: RunFolder, backbone: str, base_sha256: str) -> None:
    """Load the head of a finished run, in place.

    Args:
        model: with a head of the same options.
        run: the run.
        backbone: name of the model's backbone.
        base_sha256: fingerprint of its pretrained weights.

    Raises:
        AdapterError: the run began from other pretrained weights, or its head is not one of these options.
        StorageError: the head is missing or damaged.
    """
    tensors = read_tensors(run.head, run.record().sha256(run.head.name))
    expected = read_metadata(run.head).get("base_weights_sha256")
    if expected != base_sha256:
        raise AdapterError(
            f"run '{run.path}' was trained on base weights {str(expected)[:12]}, but backbone '{backbone}' has "
            f"{base_sha256[:12]}; use the weights it was trained on"
        )
    load_head_state(model, tensors, f"'{run.head}'")


def load_head_state(model: nn.Module, state: Mapping[str, torch.Tensor], what: str) -> None:
    """Load a `head_state` into a model.

    Args:
        model: with a head of the same options.
        state: all tensors of the head, and no others.
        what: where they come from, for an error.

    Raises:
        AdapterError: one is missing, extra, of another shape or not finite.
    """
    check_tensors(state, head_state(model), what, "the head has other options, classes or another version")
    model.load_state_dict(state, strict=False)


def head_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """State dict of everything but the backbone; a tensor with several names, as heads of a DETR have, by its first."""
    seen = {id(tensor) for tensor in backbone_of(model).state_dict(keep_vars=True).values()}
    state = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen and name != SCHEDULE:
            seen.add(id(tensor))
            state[name] = tensor.detach()
    return state
