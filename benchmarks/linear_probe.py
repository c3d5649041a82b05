"""Linear probe of the frozen built-in backbone against the same network with random weights.

    python benchmarks/linear_probe.py

A softmax classifier per cell of 4 x 4 pixels is fitted on frozen features of labelled `clear` scenes, all stages
brought to that stride, and judged, per pixel, on other scenes in every domain of the built-in world. Every set of
features gets the same scenes, the same classifier and the same convex fit, so nothing is tuned. Prints a
markdown table; the intervals are 95 % bootstrap intervals over scenes.
"""

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from minorkey.evaluation.bootstrap import mean_interval, paired_difference
from minorkey.labels import IGNORE_INDEX
from minorkey.models.backbone import load_backbone
from minorkey.models.options import BackboneOptions
from minorkey.tasks.segmentation.confusion import confusion_matrix
from minorkey.tasks.segmentation.evidence import PixelEvidence
from minorkey.world import DOMAINS, render_paired
from minorkey.world.render import Rendered

CLASSES = 19
CELL = 4  # pixels
TRAIN_SEED, TEST_SEED = 501, 502
HELD_OUT = ("infrared", "elsewhere")  # never seen in the pretraining either
JUDGED = tuple(domain for domain in DOMAINS if not domain.startswith("suburb-"))

Features = Callable[[torch.Tensor], torch.Tensor]  # images (B, 3, H, W) in [0, 1] to (B, D, H / 4, W / 4)
Judged = dict[str, PixelEvidence]  # by domain


def patch_colours(images: torch.Tensor) -> torch.Tensor:
    """The 192 colour values of the 8 x 8 pixels around each cell and its place in the image, up to squares."""
    height, width = (side // CELL for side in images.shape[-2:])
    padded = F.pad(images, (CELL // 2,) * 4, mode="replicate")
    colours = F.unfold(padded, kernel_size=2 * CELL, stride=CELL).unflatten(2, (height, width))
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    place = torch.stack([y, x, y * y, x * x, x * y])
    return torch.cat([colours, place.expand(len(images), -1, -1, -1)], dim=1)


def frozen(network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> Features:
    """The feature maps of a frozen backbone, one after the other along the channels."""
    centre, scale = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]

    @torch.no_grad()
    def features(images: torch.Tensor) -> torch.Tensor:
        size = tuple(side // CELL for side in images.shape[-2:])
        maps = network((images - centre) / scale).feature_maps
        return torch.cat([F.interpolate(each, size=size, mode="bilinear") for each in maps], dim=1)

    return features


def random_twin(network: nn.Module, seed: int) -> nn.Module:
    """The same architecture as it comes out of its own initialisation."""
    torch.manual_seed(seed)
    return type(network)(network.config).eval()


def to_tensor(samples: list[Rendered]) -> torch.Tensor:
    images = np.stack([sample.image for sample in samples])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def extract(features: Features, samples: list[Rendered], batch_size: int = 8) -> torch.Tensor:
    """Features `(N, D, H / 4, W / 4)` of all samples."""
    chunks = (samples[i : i + batch_size] for i in range(0, len(samples), batch_size))
    return torch.cat([features(to_tensor(chunk)) for chunk in chunks])


def class_shares(samples: list[Rendered]) -> torch.Tensor:
    """For each cell the share of its pixels in each class, `(N * H / 4 * W / 4, K)`."""
    labels = torch.from_numpy(np.stack([sample.labels for sample in samples])).long()
    one_hot = F.one_hot(torch.where(labels == IGNORE_INDEX, CLASSES, labels), CLASSES + 1)[..., :CLASSES]
    shares = F.avg_pool2d(one_hot.permute(0, 3, 1, 2).float(), CELL)
    return shares.permute(0, 2, 3, 1).flatten(0, 2)


def fit(x: torch.Tensor, shares: torch.Tensor, decay: float = 1e-4, iterations: int = 60) -> nn.Linear:
    """Logistic regression of `(M, D)` standardised features on `(M, K)` class shares, by L-BFGS."""
    layer = nn.Linear(x.shape[1], shares.shape[1])
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=iterations, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(layer(x), shares) + decay * layer.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return layer.requires_grad_(False)


def probe(features: Features, train: list[Rendered], tests: dict[str, list[Rendered]]) -> dict[str, list[np.ndarray]]:
    """Fit on `train` and predict the id map `(H, W)` of every test sample, by domain."""
    x = extract(features, train).permute(0, 2, 3, 1).flatten(0, 2)
    mean, std = x.mean(0), x.std(0) + 1e-6
    layer = fit((x - mean) / std, class_shares(train))
    predictions = {}
    for domain, samples in tests.items():
        maps = extract(features, samples).permute(0, 2, 3, 1)
        logits = layer((maps - mean) / std).permute(0, 3, 1, 2)
        size = samples[0].image.shape[:2]
        predictions[domain] = [
            F.interpolate(each[None], size=size, mode="bilinear")[0].argmax(0).numpy() for each in logits
        ]
    return predictions


def judge(predictions: dict[str, list[np.ndarray]], tests: dict[str, list[Rendered]]) -> Judged:
    """One confusion matrix per image, by domain."""
    return {
        domain: PixelEvidence.of_matrices(
            np.stack(
                [confusion_matrix(p, s.labels, CLASSES) for p, s in zip(predictions[domain], samples, strict=True)]
            )
        )
        for domain, samples in tests.items()
    }


def score(run: Judged, domains: list[str]) -> float:
    """Unweighted mean over domains of the mIoU, in percent."""
    return 100 * float(np.mean([run[domain].score() for domain in domains]))


def row(name: str, domains: list[str], colours: Judged, randoms: list[Judged], trained: Judged) -> str:
    """One line of the table: the three kinds of features, and pretrained against the best random network."""
    scores = [score(run, domains) for run in randoms]
    best = randoms[int(np.argmax(scores))]
    low, high = (100 * x for x in mean_interval([trained[d] for d in domains], shared_scenes=True))
    gain = paired_difference([trained[d] for d in domains], [best[d] for d in domains], shared_scenes=True)
    return (
        f"| {name} | {score(colours, domains):.1f} | {np.mean(scores):.1f} ({min(scores):.1f} to "
        f"{max(scores):.1f}) | **{score(trained, domains):.1f}** [{low:.1f}, {high:.1f}] "
        f"| {100 * gain.value:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}] |"
    )


def print_table(colours: Judged, randoms: list[Judged], trained: Judged) -> None:
    unseen = [domain for domain in JUDGED if domain != "clear"]
    rows = [(f"{domain} (held out)" if domain in HELD_OUT else domain, [domain]) for domain in JUDGED]
    rows += [("**mean but clear**", unseen), ("**mean held out**", list(HELD_OUT))]
    print("| domain | patch colours | random weights, 3 seeds | pretrained | pretrained - best random |")
    print("|---|---|---|---|---|")
    for name, domains in rows:
        print(row(name, domains, colours, randoms, trained))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--backbone", default="builtin", help="built-in, folder or hub id")
    parser.add_argument("--train-scenes", type=int, default=100)
    parser.add_argument("--test-scenes", type=int, default=24, help="scenes, each judged in every domain")
    args = parser.parse_args()
    began = time.monotonic()
    train = [render_paired(TRAIN_SEED, i, ["clear"])[0] for i in range(args.train_scenes)]
    scenes = [render_paired(TEST_SEED, i, list(JUDGED)) for i in range(args.test_scenes)]
    tests = {domain: [scene[k] for scene in scenes] for k, domain in enumerate(JUDGED)}
    backbone = load_backbone(BackboneOptions(name=args.backbone))
    networks = [backbone.network, *(random_twin(backbone.network, seed) for seed in range(3))]
    runs = [patch_colours, *(frozen(network, backbone.mean, backbone.std) for network in networks)]
    colours, trained, *randoms = (judge(probe(features, train, tests), tests) for features in runs)
    print_table(colours, randoms, trained)
    print(
        f"\n{args.train_scenes} clear scenes to fit, {args.test_scenes} to judge, 256x128; mIoU in percent. "
        f"{platform.machine()}, {torch.get_num_threads()} threads, {time.monotonic() - began:.0f} s."
    )


if __name__ == "__main__":
    main()
