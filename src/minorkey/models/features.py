"""`FeatureTap`: a feature map of the backbone, read while a segmentation model runs."""

from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn

from minorkey.errors import ModelError
from minorkey.models.backbone import FEATURE_FRACTIONS
from minorkey.models.build import backbone_of
from minorkey.models.heads.segmentation.eomt import EomtEncoder

THIRD = 2
"""Level of stride 16 of a hierarchical backbone; of a plain ViT the block at 2/3 of its depth."""


class Reached(Exception):
    """A feature map is there, and the rest of the pass is not wanted."""


def features_alone(model: nn.Module, pixel_values: Tensor, level: int = THIRD) -> Tensor:
    """The feature map of images `(B, 3, H, W)`, as of a `FeatureTap`, without running the head."""
    with FeatureTap(model, level, ends=True) as tap, suppress(Reached):
        model(pixel_values=pixel_values)
    return tap.features


class FeatureTap:
    """Keeps a feature map of the backbone, with its graph, of the last forward pass inside of a `with`.

    The map is as the backbone gives it, before a pyramid resizes it. An EoMT has no feature maps; its levels are the
    tokens of the same blocks as of other plain ViTs, or of the last block before the queries join.

    >>> with FeatureTap(model) as tap:            # doctest: +SKIP
    ...     loss = task.loss(model, batch)
    >>> tap.features.shape                        # doctest: +SKIP
    torch.Size([2, 384, 32, 32])

    Args:
        model: a segmentation model of this package, bare or wrapped for data parallelism.
        level: which of the backbone's feature maps, finest (or first) at 0, last at -1.
        ends: end the pass once the map is there, by raising `Reached` through the model; see `features_alone`.

    Raises:
        ModelError: there is no such level.
    """

    def __init__(self, model: nn.Module, level: int = THIRD, *, ends: bool = False) -> None:
        self._ends = ends
        self._model = extract_model_from_parallel(model)
        self._backbone = backbone_of(self._model)
        self._at_eomt = isinstance(self._backbone, EomtEncoder)
        levels = len(FEATURE_FRACTIONS) if self._at_eomt else len(self._backbone.channels)  # type: ignore[arg-type]
        if not -levels <= level < levels:
            raise ModelError(f"feature level {level} of a backbone with {levels}; take 0 ... {levels - 1}, or -1")
        self._level = level % levels
        self._features: Tensor | None = None
        self._pixel_values: Tensor | None = None

    @property
    def channels(self) -> int:
        """C of the feature map."""
        backbone: Any = self._backbone
        return backbone.config.hidden_size if self._at_eomt else backbone.channels[self._level]

    @property
    def features(self) -> Tensor:
        """The feature map `(B, C, h, w)`."""
        assert self._features is not None, "the model has not run inside of the tap"
        return self._features

    @property
    def pixel_values(self) -> Tensor:
        """The images `(B, 3, H, W)` that it is a map of, as the model took them: blended, where a task blends them."""
        assert self._pixel_values is not None, "the model has not run inside of the tap"
        return self._pixel_values

    def __enter__(self) -> Self:
        tapped = self._eomt_module() if self._at_eomt else self._backbone
        self._handles = [
            self._model.register_forward_pre_hook(self._keep_images, with_kwargs=True),
            tapped.register_forward_hook(self._keep_tokens if self._at_eomt else self._keep_map),
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _keep_images(self, module: nn.Module, inputs: tuple, named: dict[str, Any]) -> None:
        self._pixel_values = named["pixel_values"] if "pixel_values" in named else inputs[0]

    def _keep_map(self, module: nn.Module, inputs: tuple, output: Any) -> None:
        self._keep(output.feature_maps[self._level])

    def _keep_tokens(self, module: nn.Module, inputs: tuple, tokens: Tensor) -> None:
        backbone: Any = self._backbone
        side = backbone.config.image_size // backbone.config.patch_size
        self._keep(tokens[:, -side * side :].transpose(1, 2).unflatten(2, (side, side)))

    def _keep(self, features: Tensor) -> None:
        self._features = features
        if self._ends:
            raise Reached

    def _eomt_module(self) -> nn.Module:
        """Where the tokens of the level leave: a block, or the embeddings where the queries join at the first."""
        backbone: Any = self._backbone
        depth = len(backbone.layers)
        block = max(1, round(depth * FEATURE_FRACTIONS[self._level]))
        block = min(block, depth - backbone.config.num_blocks)
        return backbone.layers[block - 1] if block else backbone.embeddings
