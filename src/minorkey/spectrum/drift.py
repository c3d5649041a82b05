"""How far a training moved what the blocks compute, on images of each domain.

Both networks, pretrained and trained, see the same pixels, and the outputs of each block are compared token by
token (class and register tokens included; in a convolutional network every place of the map is a token).
Drift adds up: a block that was not trained drifts too if a block before it was.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn

from minorkey.adapters.roles import Layers
from minorkey.evaluation.run import EvaluationDomain
from minorkey.models.build import backbone_of
from minorkey.spectrum.blocks import recorded_blocks
from minorkey.spectrum.measures import relative_size
from minorkey.spectrum.rows import DriftRow
from minorkey.system.console import PlainConsole
from minorkey.system.progress import Reporter
from minorkey.tasks.predictor import Predictor


@torch.inference_mode()
def measure_drift(
    before: nn.Module,
    predictor: Predictor,
    domains: Sequence[EvaluationDomain],
    *,
    layers: Layers | None = None,
    console: Console | None = None,
) -> list[DriftRow]:
    """Compare the blocks of a run's backbone with those of the pretrained one, per domain.

    An image is looked at as the run predicts it: resized, padded; of windows one in their middle is taken.

    Args:
        before: the run's model with the pretrained backbone; what its head computes plays no part.
        predictor: the trained run.
        domains: the images, source and unseen.
        layers: further names of layers per role, as in `MethodOptions.layers`; they too make a block.
        console: where progress is shown; None: standard error.

    Returns:
        One row per domain and block, domains in the order given.

    Raises:
        DataError: an image cannot be read.
    """
    before = before.eval().to(predictor.device)
    old_blocks, new_blocks = (recorded_blocks(backbone_of(model), layers) for model in (before, predictor.model))
    total, done, rows = sum(len(domain.indices()) for domain in domains), 0, []
    reporter = Reporter(console or PlainConsole(stderr=True), "measuring drift", total, unit="image")
    with reporter, old_blocks as old, new_blocks as new:
        for domain in domains:
            images, looking = [], predictor.in_domain(domain.reader.domain)
            for index in domain.indices():
                seen = looking.first_pass(domain.reader[index].image).float()
                for model in (before, predictor.model):
                    model(pixel_values=seen[len(seen) // 2][None])
                images.append([token_drift(old[block], new[block]) for block in sorted(old)])
                done += 1
                reporter.update(done, domain.reader.domain)
            rows += _rows(domain, np.array(images))
    return rows


def token_drift(before: Tensor, after: Tensor) -> tuple[float, float, float]:
    """Relative change, angle and similarity of the tokens `(N, C)` of one image before and after.

    Returns:
        `|f1 - f0|_F / |f0|_F`; the mean over tokens of `1 - cos(f0, f1)`; linear CKA in [0, 1], over tokens
        (Kornblith et al., arXiv 1905.00414, equation 4).
    """
    old, new = before.double(), after.double()  # the cosine of a small change is lost in float32
    angle = 1 - F.cosine_similarity(old, new, dim=1).mean()
    return relative_size(new - old, old), float(angle), linear_cka(before, after)


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment of `x (N, C)` and `y (N, D)`: `|Yc^T Xc|^2 / (|Xc^T Xc| |Yc^T Yc|)`.

    Where it is 0 / 0, as of a single token: 1 if neither varies, 0 if one of them does.
    """
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    norm = torch.linalg.matrix_norm
    own = norm(x.T @ x) * norm(y.T @ y)
    return float(norm(y.T @ x).square() / own) if own > 0 else float(not x.any() and not y.any())


def _rows(domain: EvaluationDomain, drifts: np.ndarray) -> list[DriftRow]:
    """Average `(images, blocks, 3)` over the images."""
    return [
        DriftRow(block, domain.reader.domain, domain.role, len(drifts), *map(float, values))
        for block, values in enumerate(drifts.mean(axis=0))
    ]
