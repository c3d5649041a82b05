"""The README.md of an export: a model card of the hub, with what one needs to load and to judge it."""

from dataclasses import dataclass, field
from typing import Any

import yaml
from huggingface_hub import ModelCardData

from minorkey.config import RunConfig
from minorkey.evaluation.scores import ScoreTable
from minorkey.export.trained import Trained
from minorkey.models.timm_backbone import TimmFeaturesConfig
from minorkey.plotting.markdown import as_code, code_block, in_markdown


@dataclass(frozen=True)
class Card:
    """What one kind of export says of itself."""

    what: str  # one sentence
    code: str  # Python that loads it from the variable `folder`
    library: str  # the library that loads it, as the hub calls it
    task: str  # the hub's pipeline tag
    relation: str  # to the base model: adapter or finetune
    notes: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)  # of the notes, those that are said as it is written


def card_text(card: Card, trained: Trained) -> str:
    """The whole README.md."""
    sections = [
        f"---\n{_metadata(card, trained)}\n---",
        f"# {in_markdown(_title(trained))}",
        card.what,
        "## Load it",
        code_block(f'folder = "."  # this folder, or its id on the hub\n\n{card.code}', "python"),
        *card.notes,
        "## Where it comes from",
        _origin(trained),
        "## Scores",
        _scores(trained.scores),
        "Classes, in the order of the logits: " + ", ".join(map(in_markdown, trained.predictor.space.classes)) + ".",
    ]
    return "\n\n".join(sections) + "\n"


def _metadata(card: Card, trained: Trained) -> str:
    tag = trained.task.exported(trained.predictor.model).tag
    data = ModelCardData(
        library_name=card.library,
        pipeline_tag=card.task,
        base_model=trained.base_on_hub,
        base_model_relation=card.relation if trained.base_on_hub else None,
        tags=["minorkey", trained.config.method.name, tag, "domain-generalization"],
    )
    return data.to_yaml()


def _title(trained: Trained) -> str:
    return f"{trained.base.rpartition('/')[2]}, {trained.config.method.name}, {_sources(trained.config)}"


def _sources(config: RunConfig) -> str:
    return ", ".join(source.data for source in config.source)


def _origin(trained: Trained) -> str:
    from minorkey import __version__

    config = trained.config
    revision = f", revision {as_code(config.backbone.revision)}" if config.backbone.revision else ""
    return "\n".join(
        [
            f"- pretrained backbone: {as_code(trained.base)}{revision} ({_kind(trained)}); see its license",
            f"- sha256 of its weights: `{trained.base_sha256}` (minorkey's `weights_sha256`)",
            f"- head: {in_markdown(config.head.name)}; trained on {in_markdown(_sources(config))} for "
            f"{'at most ' * (config.training.patience is not None)}{config.training.steps} steps",
            f"- method: {config.method.spec.description}",
            f"- written by minorkey {__version__}",
            "",
            code_block(yaml.safe_dump(_method(trained), sort_keys=False), "yaml"),
        ]
    )


def _kind(trained: Trained) -> str:
    """The class of the pretrained backbone, or what timm calls it."""
    config = trained.backbone.config
    if isinstance(config, TimmFeaturesConfig):
        return f"{as_code(config.architecture)} of timm"
    return f"`{type(trained.base_network).__name__}`"


def _method(trained: Trained) -> dict[str, Any]:
    """The options that were in force; only low-rank methods have any."""
    method = trained.config.method
    if method.spec.trains != "adapter":
        return {"name": method.name}
    return {name: value for name, value in method.model_dump(mode="json", exclude_none=True).items() if value != {}}


def _scores(scores: ScoreTable | None) -> str:
    if scores is None:
        return "Not judged yet."
    number = scores.metric.number
    rows = [
        f"| {in_markdown(s.domain)} | {s.role} | {number(s.score)} | "
        f"{' to '.join(map(number, s.interval)) if s.has_spread else 'none'} | {s.images} |"
        for s in scores.domains
    ]
    rows += [
        f"| {in_markdown(each.domain)} | {each.role} | none: {in_markdown(each.why)} | | {each.images} |"
        for each in scores.unscored
    ]
    metric = f"{scores.metric.name} ({scores.metric.unit})" if scores.metric.unit else scores.metric.name
    heading = f"| domain | role | {metric} | 95 % interval over images | images |"
    table = [heading, "|---|---|---:|---:|---:|", *rows]
    return "\n".join([*table, "", f"Protocol: {in_markdown(scores.protocol.describe())}."])
