"""SoMA's analysis as a tool: remove major or minor components of a block and see what each domain loses.

Source: M. Yun et al., SoMA: Singular value decomposed minor components adaptation (arXiv 2412.04077).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from rich.console import Console

from minorkey.adapters import weights_sha256
from minorkey.adapters.decompose import End
from minorkey.adapters.targets import Target, find_targets
from minorkey.config import RunConfig
from minorkey.data.readers.reader import Reader, ReaderAround
from minorkey.data.sample import Sample
from minorkey.errors import ConfigError, DataError
from minorkey.evaluation.bootstrap import paired_difference
from minorkey.evaluation.run import EvaluationDomain, Judged, evaluate_domains
from minorkey.evaluation.scores import DomainScore, has_score, score_domain
from minorkey.models.build import backbone_of
from minorkey.runs.assemble import open_judged
from minorkey.runs.load import config_of, load
from minorkey.spectrum.files import claim_spectrum
from minorkey.spectrum.knockout.files import KnockoutLog
from minorkey.spectrum.knockout.removal import Removal
from minorkey.spectrum.knockout.rows import KnockoutRow, Setting
from minorkey.system.console import PlainConsole
from minorkey.system.progress import Reporter
from minorkey.system.run_folder import RunFolder
from minorkey.system.unforeseen import public
from minorkey.tasks.evidence import only_scored
from minorkey.tasks.predictor import Predictor

SHARE = 1 / 8
"""A share, so that backbones of any width compare. An eighth of a width of 128 is 16, the usual rank."""
IMAGES = 8

Evidences = Mapping[str, Judged]


@public
def knockout(
    run: str | Path,
    *,
    components: float = SHARE,
    which: Sequence[End] = ("major", "minor"),
    blocks: Sequence[int] | None = None,
    images: int = IMAGES,
    out: str | Path | None = None,
    console: Console | None = None,
) -> list[KnockoutRow]:
    """Judge a trained run without some of the singular components of its backbone's weights.

    For every block on its own, and for all together, the components at one end of each weight are removed,
    the run's source and unseen domains are judged, and the weights are put back.

    Args:
        run: the folder of a finished run.
        components: how many are removed, as a share of the singular values of each weight, in `(0, 1]`.
        which: the ends of the spectrum.
        blocks: 0-based; None for every block. All blocks together are always judged.
        images: judged per domain, at least 2, evenly spaced; the same for every setting.
        out: `knockout.jsonl` grows there, and what is in it is not judged again; None: `spectrum/` in the run.
        console: where progress is shown; None: standard error.

    Returns:
        One row per setting and domain: all blocks last, `which` in the order given.

    Raises:
        MinorkeyError: the run is not finished, a value is out of range, or `out` holds another knock-out.
    """
    console = console or PlainConsole(stderr=True)
    _check(components, images)
    config = config_of(run)
    predictor = load(run)
    domains = _domains(config, predictor, images, console)
    targets = find_targets(backbone_of(predictor.model), layers=config.method.layers)
    asked = {
        "model": weights_sha256(predictor.model)[:16],
        "domains": [domain.reader.domain for domain in domains],
        "images": images,
        "components": components,
        "classes": predictor.protocol.classes_scored and list(predictor.protocol.classes_scored),
    }
    folder = Path(out) if out is not None else RunFolder(Path(run)).spectrum
    claim_spectrum(folder, Path(run))
    log = KnockoutLog(folder / "knockout.jsonl", asked)
    settings = _settings(targets, which, blocks)
    missing = [setting for setting in settings if setting not in log.rows]
    for setting, rows in _judge_settings(predictor, domains, Removal(targets, components), missing, console):
        log.add(setting, rows)
    return [row for setting in settings for row in log.rows[setting]]


def _domains(config: RunConfig, predictor: Predictor, images: int, console: Console) -> list[EvaluationDomain]:
    """The run's domains, with the source, on which the suggestion rests, even where the run does not judge it."""
    config = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"source": True})})
    judged = open_judged(config, predictor.space, console)
    return [EvaluationDomain(domain.role, _InMemory(domain.reader), images) for domain in judged]


def _judge_settings(
    predictor: Predictor,
    domains: Sequence[EvaluationDomain],
    removal: Removal,
    settings: Sequence[Setting],
    console: Console,
) -> Iterator[tuple[Setting, list[KnockoutRow]]]:
    if not settings:
        return
    quiet = PlainConsole(quiet=True)

    def judged() -> Evidences:
        return evaluate_domains(predictor, domains, pictures=0, folder=Path(), console=quiet)

    with Reporter(console, "knock-out", 1 + len(settings), unit="setting") as reporter:
        intact = judged()
        reporter.update(1, "intact")
        for number, (block, which) in enumerate(settings, start=2):
            with removal.applied(block, which):
                without = judged()
            rows = _rows((block, which), removal.share, intact, without, predictor)
            if not rows:
                raise DataError(
                    "nothing that a score counts is labelled in what is judged; check the labels and maps of the "
                    "domains, or ask for more images"
                )
            yield (block, which), rows
            reporter.update(number, f"without {which}, {'all blocks' if block is None else f'block {block}'}")


def _rows(
    setting: Setting, share: float, intact: Evidences, without: Evidences, predictor: Predictor
) -> list[KnockoutRow]:
    (block, which), protocol, classes = setting, predictor.protocol, predictor.space.classes
    rows = []
    for domain, judged in intact.items():
        both = (judged.evidence, without[domain].evidence)
        before, after = (only_scored(kept, classes, protocol.classes_scored) for kept in both)
        if not has_score(before) or not has_score(after):
            continue
        better = protocol.scored.higher_is_better
        difference = paired_difference([before], [after]) if better else paired_difference([after], [before])
        score_before, score_after = (score_domain(domain, judged.role, kept, classes) for kept in (before, after))
        scores = (score_before, score_after) if better else (score_after, score_before)
        rows.append(
            KnockoutRow(
                block=block,
                which=which,
                share=share,
                domain=domain,
                role=judged.role,
                images=before.shape[0],
                metric=protocol.metric,
                task=protocol.task,
                intact=score_before.score,
                without=score_after.score,
                loss=difference.value,
                low=difference.low,
                high=difference.high,
                class_loss=_class_loss(*scores),
            )
        )
    return rows


def _class_loss(better: DomainScore, worse: DomainScore) -> dict[str, float | None]:
    pairs = {name: (value, worse.by_class[name]) for name, value in better.by_class.items()}
    return {name: None if a is None or b is None else a - b for name, (a, b) in pairs.items()}


def _settings(targets: Sequence[Target], which: Sequence[End], blocks: Sequence[int] | None) -> list[Setting]:
    present = sorted({target.block for target in targets})
    if absent := sorted(set(blocks or ()) - set(present)):
        raise ConfigError(f"no block {absent[0]}; the backbone's blocks are {present[0]} ... {present[-1]}")
    chosen: list[int | None] = [*(present if blocks is None else blocks), None]
    return [(block, end) for end in which for block in chosen]


def _check(components: float, images: int) -> None:
    if not 0 < components <= 1:
        raise ConfigError(f"components is {components}; expected a share of the singular values, e.g. 0.125")
    if images < 2:
        raise ConfigError(f"images is {images}; expected at least 2 per domain, for one has no interval")


class _InMemory(ReaderAround):
    """A reader whose samples are read once: every setting is judged on the same ones."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader)
        self._read = cache(reader.__getitem__)

    def __getitem__(self, index: int) -> Sample:
        return self._read(index)
