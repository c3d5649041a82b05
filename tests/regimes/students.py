"""Tiny students with their adapters, and made-up batches of a source and a target."""

from dataclasses import dataclass

import torch
from plain_vits import PLAIN_VITS
from torch import Tensor, nn
from transformers import PreTrainedModel, ResNetBackbone, ResNetConfig, SwinBackbone, SwinConfig

from minorkey.adapters import Attached, MethodOptions, attach
from minorkey.data.photometric import PhotometricConfig
from minorkey.data.sample import Batch, Pair
from minorkey.labels import IGNORE_INDEX
from minorkey.models.build import backbone_of
from minorkey.models.options import HeadOptions
from minorkey.regimes.base import Setup
from minorkey.regimes.teachers import Teacher, TeacherOptions, make_teacher
from minorkey.tasks.segmentation.task import Segmentation
from minorkey.tasks.self_training import Colours

CLASSES = 3
COLOURS = Colours(PhotometricConfig(), (0.5,) * 3, (0.5,) * 3)
STAGES = ["stage1", "stage2", "stage3", "stage4"]


@dataclass
class Student:
    """What trains."""

    model: PreTrainedModel
    attached: Attached

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def teacher(self, name: str, **options) -> Teacher:
        return make_teacher(self.model, self.attached, TeacherOptions(name=name, **options))

    def setup(self, options, teacher: str = "ema", **changes) -> Setup:
        """What a regime is built around: a training of four steps."""
        changes = {"task": Segmentation(), "classes": CLASSES, "steps": 4, "lr": 1e-3, "colours": COLOURS} | changes
        return Setup(
            model=self.model, attached=self.attached, options=options, teacher=TeacherOptions(name=teacher), **changes
        )


def _vit():
    backbone = PLAIN_VITS["dinov2"]()
    backbone.config.apply_layernorm = False
    backbone.out_features = STAGES
    return backbone


BACKBONES = {
    "dinov2": _vit,
    "resnet": lambda: ResNetBackbone(
        ResNetConfig(embedding_size=8, hidden_sizes=[16, 24, 32, 40], depths=[1] * 4, out_features=STAGES)
    ),
    "swin": lambda: SwinBackbone(
        SwinConfig(
            embed_dim=8, depths=[1] * 4, num_heads=[2] * 4, image_size=64, window_size=2, drop_path_rate=0.0,
            out_features=STAGES,
        )
    ),
}  # fmt: skip


def make_student(method: str = "soma", backbone: str = "dinov2", head: str = "upernet") -> Student:
    """Weights are random but for the norms', and the same in each call; its mode is that of training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pretrained = BACKBONES[backbone]()
        for parameter in pretrained.parameters():
            parameter.data.add_(0.05 * torch.randn_like(parameter))
        options = HeadOptions(name=head, channels=32, queries=5, points=50, decoder_layers=1, encoder_layers=1)
        model = Segmentation().build(pretrained, options, CLASSES, seed=0)
        attached = attach(backbone_of(model), MethodOptions(name=method, rank=4, first_block=0))
        sharpen(model)
    model.train()
    if method != "full":
        for module in backbone_of(model).modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    return Student(model, attached)


def sharpen(model: nn.Module) -> None:
    """Larger weights in the last layers of the head: an untrained one says nearly the same of all pixels."""
    for module in (getattr(model, name, None) for name in ("decode_head", "auxiliary_head")):
        if module is not None:
            module.classifier.weight.data.normal_(std=1.0)


@torch.no_grad()
def move(parameters, seed: int) -> None:
    """A stand-in for an optimizer step."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


def random_batch(seed: int, size: int = 32, count: int = 2) -> Batch:
    """Labels in squares of 8 pixels, the first row of squares ignored; `clean` differs from what a model is given."""
    generator = torch.Generator().manual_seed(seed)
    clean, noise = torch.randn(2, count, 3, size, size, generator=generator)
    labels = torch.randint(0, CLASSES, (count, size // 8, size // 8), generator=generator)
    labels[:, 0] = IGNORE_INDEX
    labels = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)
    filled = torch.ones(count, size, size, dtype=torch.bool)
    names = [str(i) for i in range(count)]
    return Batch(clean + 0.3 * noise, labels, ["a"] * count, names, clean=clean, filled=filled)


def random_pair() -> Pair:
    return Pair(random_batch(1), random_batch(2))


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    """Bit for bit."""
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
