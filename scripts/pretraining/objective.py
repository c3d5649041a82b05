"""What the pretraining asks of the network: see through the weather, and see the same in both views.

Two views of one scene lose the same random patches. From the patches that are left, in either view,

- every patch's clear appearance, inverse depth and edges are predicted: the visible ones linearly, the lost
  ones by a small cross-attention decoder (masked autoencoding, He et al. 2022, arXiv 2111.06377; decoder by
  cross-attention only, Fu et al. 2024, arXiv 2401.14391);
- the two features of one patch are told from those of the same place in other scenes (InfoNCE, van den Oord
  et al. 2018, arXiv 1807.03748). Comparing like places leaves the position embedding no shortcut.
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import Dinov2Backbone

CHANNELS = 6  # clear red, green, blue; inverse depth; edges of appearance and of depth


def edges(image: torch.Tensor) -> torch.Tensor:
    """Gradient magnitude `(B, 1, H, W)` of `(B, 1, H, W)`, by forward differences, zero at the far border."""
    dx = F.pad(image[..., :, 1:] - image[..., :, :-1], (0, 1, 0, 0))
    dy = F.pad(image[..., 1:, :] - image[..., :-1, :], (0, 0, 0, 1))
    return (dx.square() + dy.square() + 1e-12).sqrt()


def patchify(maps: torch.Tensor, patch: int) -> torch.Tensor:
    """`(B, C, H, W)` to `(B, N, C * patch * patch)`, patches row by row."""
    return F.unfold(maps, kernel_size=patch, stride=patch).transpose(1, 2)


def target_patches(target: torch.Tensor, patch: int) -> torch.Tensor:
    """What is to be predicted, `(B, N, 6 * patch^2)`, of the clear view and inverse depth `(B, 4, H, W)`."""
    grey, depth = target[:, :3].mean(1, keepdim=True), target[:, 3:]
    return patchify(torch.cat([target, edges(grey), 4 * edges(depth)], dim=1), patch)


def info_nce(first: torch.Tensor, second: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """Mean cross-entropy of finding, at each place, the same scene in the other view.

    Args:
        first: features `(B, K, D)` of B scenes at K places.
        second: features of the other view, same shape.
        temperature: divides the cosine similarity.

    Returns:
        Scalar, `log B` for features that tell nothing; symmetric in the two views.
    """
    a, b = F.normalize(first, dim=-1).transpose(0, 1), F.normalize(second, dim=-1).transpose(0, 1)
    similarity = a @ b.transpose(1, 2) / temperature  # (K, B, B)
    places, scenes, _ = similarity.shape
    same = torch.arange(scenes, device=first.device).repeat(places)
    forward = F.cross_entropy(similarity.flatten(0, 1), same)
    backward = F.cross_entropy(similarity.transpose(1, 2).flatten(0, 1), same)
    return (forward + backward) / 2


class CrossDecoder(nn.Module):
    """Features of lost patches: a mask token per place attends to the visible features, once."""

    def __init__(self, width_in: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.place = nn.Linear(width_in, width)
        self.norm_query = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width_in, 2 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, visible: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """`visible` `(B, K, D)` and position embeddings `places` `(Q, D)` to `(B, Q, width)`."""
        asked = (self.mask_token + self.place(places)).expand(len(visible), -1, -1)
        key, value = self.key_value(visible).chunk(2, dim=-1)
        query = self.query(self.norm_query(asked))
        seen = F.scaled_dot_product_attention(self._split(query), self._split(key), self._split(value))
        asked = asked + self.out(seen.transpose(1, 2).flatten(2))
        return asked + self.mlp(asked)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Pretraining(nn.Module):
    """The backbone and the small heads that are thrown away after the pretraining."""

    def __init__(self, backbone: Dinov2Backbone, invariance: float = 0.1) -> None:
        super().__init__()
        width, self.patch = backbone.config.hidden_size, backbone.config.patch_size
        self.invariance = invariance
        self.backbone = backbone
        self.norm = nn.LayerNorm(width)
        self.predict_visible = nn.Linear(width, CHANNELS * self.patch**2)
        self.decoder = CrossDecoder(width, 96, heads=4)
        self.predict_lost = nn.Linear(96, CHANNELS * self.patch**2)
        self.project = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, 64))

    def forward(
        self, views: torch.Tensor, target: torch.Tensor, kept: torch.Tensor, lost: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Losses of a batch of paired views.

        Args:
            views: `(B, 2, 3, H, W)`, two views of each scene.
            target: `(B, 4, H, W)`, clear appearance and inverse depth.
            kept: `(K,)` indices of the patches that the network sees.
            lost: `(Q,)` indices of patches that it must fill in.

        Returns:
            Scalars `visible`, `lost`, `invariance`, and their weighted sum `total`.
        """
        images = views.flatten(0, 1)
        tokens = self.backbone.embeddings(images)
        tokens = torch.cat([tokens[:, :1], tokens[:, 1 + kept]], dim=1)
        for layer in self.backbone.encoder.layer:
            tokens = layer(tokens)
        tokens = self.norm(tokens)
        wanted = target_patches(target, self.patch).repeat_interleave(2, dim=0)
        visible = F.smooth_l1_loss(self.predict_visible(tokens[:, 1:]), wanted[:, kept], beta=0.1)
        filled = self.predict_lost(self.decoder(tokens, self._places(images)[lost]))
        lost_loss = F.smooth_l1_loss(filled, wanted[:, lost], beta=0.1)
        features = self.project(tokens[:, 1:]).unflatten(0, (-1, 2))
        invariance = info_nce(features[:, 0], features[:, 1])
        total = visible + lost_loss + self.invariance * invariance
        return {"total": total, "visible": visible, "lost": lost_loss, "invariance": invariance}

    def _places(self, images: torch.Tensor) -> torch.Tensor:
        """The position embeddings `(N, D)` of the patches of `(B, 3, H, W)` images."""
        height, width = images.shape[-2:]
        embeddings = self.backbone.embeddings
        grid = images.new_empty(1, 1 + height * width // self.patch**2, self.norm.weight.numel())
        return embeddings.interpolate_pos_encoding(grid, height, width)[0, 1:]
