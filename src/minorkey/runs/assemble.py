"""What a run is made of, as its configuration says: data sets to train and to evaluate on, and the network."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from torch import nn
from transformers import PreTrainedModel

from minorkey.adapters import weights_sha256
from minorkey.config import RunConfig
from minorkey.data.raw_cache import RawCache
from minorkey.data.readers import Reader, SourceOptions, open_datasets, parted, trained_on, validation_of
from minorkey.data.readers import Role as ReaderRole
from minorkey.data.readers.corrupted import CorruptedReader
from minorkey.data.readers.pairing import NoImages, NoSplit
from minorkey.errors import ConfigError
from minorkey.evaluation.run import EvaluationDomain, check_names
from minorkey.labels import LabelSpace
from minorkey.models.backbone import Backbone, load_backbone
from minorkey.models.build import backbone_of
from minorkey.models.channels import trained_anyway
from minorkey.tasks.table import task_named

UNLIMITED = 10**9


@dataclass(frozen=True)
class Network:
    """A model before adaptation, with the fingerprint of its pretrained backbone."""

    model: PreTrainedModel
    backbone: nn.Module  # the pretrained part inside: `backbone_of(model)`
    loaded: Backbone
    base_sha256: str
    parameters: int  # of backbone and head
    also: tuple[str, ...] = ()  # parameters of the backbone that train whatever the method


def build_network(config: RunConfig, space: LabelSpace) -> Network:
    """The pretrained backbone with a fresh head."""
    loaded = load_backbone(config.backbone)
    model = task_named(config.task).build(loaded.network, config.head, len(space), config.seed)
    backbone = backbone_of(model)
    count, also = sum(p.numel() for p in model.parameters()), trained_anyway(backbone, config.backbone.channels)
    return Network(model, backbone, loaded, weights_sha256(backbone), count, also)


@dataclass(frozen=True)
class Sources:
    """The data sets that are trained on."""

    readers: list[Reader]
    weights: list[float] | None  # share of each in the batches; None: by their lengths
    cache: RawCache | None = None  # keeps their pixels


def open_sources(config: RunConfig, space: LabelSpace) -> Sources:
    """Open what is trained on with its labels; see `open_targets`."""
    return _open_all("source", config.source, config, space)


def open_targets(config: RunConfig, space: LabelSpace) -> Sources | None:
    """Open what is trained on without labels, if anything.

    Subsets are drawn by the seed of the run; the domains of one name share its weight.

    Raises:
        ConfigError: some have a weight and others have none.
    """
    return _open_all("target", config.target, config, space) if config.target else None


def _open_all(role: ReaderRole, asked: Sequence[SourceOptions], config: RunConfig, space: LabelSpace) -> Sources:
    readers: list[Reader] = []
    weights: list[float] = []
    cache = None if config.data_cache is None else RawCache(config.data_cache)
    for source in asked:
        opened = [trained_on(reader, source, config.seed) for reader in _open(source.data, role, config, space, cache)]
        readers += opened
        if source.weight is not None:
            weights += [source.weight * len(reader) / sum(map(len, opened)) for reader in opened]
    if weights and len(weights) < len(readers):
        raise ConfigError(f"some {role}s have a weight and others have none; give each one, or none")
    return Sources(readers, weights or None, cache)


def open_judged(config: RunConfig, space: LabelSpace, console: Console) -> list[EvaluationDomain]:
    """What the run is evaluated on: validation images of the source domains, then the unseen domains."""
    domains = open_source_validation(config, space, console) if config.evaluation.source else []
    domains += open_unseen(config, space)
    if not domains:
        raise ConfigError("nothing to judge on; name at least one data set in `unseen`")
    check_names(domains)
    return domains


def open_source_validation(config: RunConfig, space: LabelSpace, console: Console) -> list[EvaluationDomain]:
    """The validation images of the source domains, of those that have any, or what is held out of them.

    Those as they are come first, then those under each corruption of `evaluation.source_under`.
    """
    readers, images = list[Reader](), config.evaluation.images or UNLIMITED
    for source in config.source:
        if (asked := source.validation) is not None:
            readers += [parted(reader, asked)[1] for reader in _open(source.data, "source", config, space)]
            continue
        try:
            readers += _open(validation_of(source.data), "validation", config, space)
        except (NoImages, NoSplit) as error:  # what is broken is better said before the training than after
            console.print(f"source '{source.data}' is not judged: {error}", highlight=False, soft_wrap=True)
    corrupted = [CorruptedReader(reader, name) for name in config.evaluation.source_under for reader in readers]
    return [EvaluationDomain("source", reader, images) for reader in [*readers, *corrupted]]


def open_unseen(config: RunConfig, space: LabelSpace) -> list[EvaluationDomain]:
    """The domains that are not trained on."""
    images = config.evaluation.images or UNLIMITED
    readers = [reader for spec in config.unseen for reader in _open(spec, "unseen", config, space)]
    return [EvaluationDomain("unseen", reader, images) for reader in readers]


def _open(
    spec: str, role: ReaderRole, config: RunConfig, space: LabelSpace, cache: RawCache | None = None
) -> list[Reader]:
    return open_datasets(
        spec,
        role=role,
        label_space=space,
        data_root=config.data_root,
        options=config.world,
        annotation=task_named(config.task).annotation,
        cache=cache,
        seed=config.seed,
        pixels=config.pixels,
    )
