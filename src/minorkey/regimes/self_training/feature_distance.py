"""Distance of a student's features to those of the pretrained backbone, through a small head that trains with it.

The feature distance of DAFormer (arXiv 2111.14887) holds the features themselves in place, which hurts foundation
models. Behind a head the features may change, so long as the pretrained ones can still be told from them.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class FeatureHead(nn.Module):
    """x + conv(GELU(conv(x))), 1x1 convolutions, on features `(B, C, h, w)`.

    The last convolution is zero at first, so the head starts as the identity and the distance as the plain one: 0
    where the student starts at the pretrained weights. A random head would start far off, and first push the student
    in directions of its own.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, channels, kernel_size=1)
        self.project = nn.Conv2d(channels, channels, kernel_size=1)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, features: Tensor) -> Tensor:
        """Features `(B, C, h, w)`."""
        return features + self.project(F.gelu(self.expand(features)))


def feature_distance(features: Tensor, pretrained: Tensor) -> Tensor:
    """Mean over positions of 1 - cosine similarity: a scalar in [0, 2].

    Args:
        features: `(B, C, h, w)`, the student's behind the head.
        pretrained: `(B, C, h, w)`, constants.

    >>> import torch
    >>> east, north = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1), torch.tensor([0.0, 3.0]).view(1, 2, 1, 1)
    >>> feature_distance(east, 5 * east).item(), feature_distance(east, north).item()
    (0.0, 1.0)
    """
    return 1 - F.cosine_similarity(features.float(), pretrained.detach().float(), dim=1).mean()
