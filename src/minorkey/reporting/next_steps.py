"""What to do next, as commands: below a page, and at the end of what the command line does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from minorkey.config import load_config
from minorkey.data.corruptions.naming import split_corruption
from minorkey.labels.tables import read_yaml
from minorkey.reporting.compared import FROZEN, compare, ranked
from minorkey.reporting.runs import Run, read_run
from minorkey.reporting.tables import is_start
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.table import task_named, task_settings

ENOUGH_SEEDS = 3

RATES = "3e-5,1e-4,3e-4,1e-3,3e-3"
"""Where most methods have theirs, from full fine-tuning to SoMA; a grid goes on at its edges."""


@dataclass(frozen=True)
class Step:
    """Something to do, and the command that does it."""

    why: str
    command: str


def after_comparing(methods: Sequence[Run]) -> list[Step]:
    """For a reader of the page about methods, with the one that the page is about."""
    parts, entries = compare(methods), ranked(methods)
    run = parts.subject.run if parts else entries[0].run if entries else methods[0]
    again = [_another_seed(run)] if _lacks_seeds(run, methods) else []
    return [
        *again,
        *_rates(run, methods),
        _step(PREDICT, run.folder),
        *_withstood(run.folder),
        _step(SPECTRUM, run.folder),
        _step(EXPORT, run.folder),
        _own(run),
    ]


def after_training(folder: Path) -> list[Step]:
    """With a run that has just ended."""
    return [_step(PAGE, folder), _step(PREDICT, folder), *_withstood(folder), _step(EXPORT, folder)]


def after_demo(folder: Path) -> list[Step]:
    """With the run of a demo that its page is about."""
    run = read_run(folder)
    return [_step(PREDICT, folder), *_withstood(folder), _own(run)]


def after_judging(run: Path, scores: Path, *, robustness: bool) -> list[Step]:
    """With a run that was judged again.

    Args:
        run: its folder.
        scores: where they are.
        robustness: whether they are of corruptions already.
    """
    return [_step(PAGE, scores), *([] if robustness else _withstood(run))]


def after_predicting(run: Path, images: Path) -> Iterator[Step]:
    """With images that a run has predicted; a single one is nothing to learn from."""
    if not images.is_dir() or not RunFolder(run).config.is_file():
        return
    place = quote(str(images))
    config = load_config(RunFolder(run).config)
    if not config.target and task_named(config.task).self_training is not None:
        file, out = quote(str(RunFolder(run).config)), quote(str(run.with_name(f"{run.name}-adapted")))
        command = f"minorkey train {file} --target {place} --regime self_training --out {out}"
        yield Step("Adapt to these images, without labels for them:", command)
    judged = next((quote(str(folder)) for folder in (images, *images.parents[:2]) if _has_labels(folder)), "MYDATA")
    yield Step(
        "If they have labels, judge the model on them:", f"minorkey evaluate {quote(str(run))} --unseen {judged}"
    )


def _has_labels(folder: Path) -> bool:
    """Whether a folder looks like a data set, at a glance."""
    beside = ("labels", "annotations", "masks")
    return (folder / "dataset.yaml").is_file() or any((folder / name).is_dir() for name in beside)


PAGE = "See scores, curves and pictures on a page:", "report {}"
PREDICT = "Look at your own images through the adapted model:", "predict {} PHOTOS --out predicted"
ROBUSTNESS = "Ask what it withstands: night, fog, snow, noise, blur at five strengths:", "evaluate {} --robustness"
SPECTRUM = "See what the training changed in the weights:", "spectrum {} --images 4"
EXPORT = "Take it away as a plain transformers model:", "export {} --to model --out model"


def _step(row: tuple[str, str], folder: Path) -> Step:
    words, command = row
    return Step(words, f"minorkey {command.format(quote(str(folder)))}")


def _withstood(run: Path) -> list[Step]:
    """Corruptions: of a run that names what they are put on, and of images that they are made for."""
    file = RunFolder(run).config
    values = read_yaml(file) if file.is_file() else None
    if isinstance(values, dict):
        pixels = values.get("pixels") or {}
        clean = [spec for spec in values.get("unseen") or [] if split_corruption(str(spec))[1] is None]
        if not clean or any(pixels.get(key) for key in ("channels", "range")):
            return []
    return [_step(ROBUSTNESS, run)]


def _lacks_seeds(run: Run, methods: Sequence[Run]) -> bool:
    """More seeds where there are few: an interval over images says nothing of the randomness of training."""
    trained = [method for method in methods if not is_start(method.scores) and method.config]
    return len(trained) >= 2 and len(run.seeds) < ENOUGH_SEEDS


def _another_seed(run: Run) -> Step:
    config = quote(str(run.folder / "config.yaml"))
    seed = 1 + max(each.scores.training.seed or 0 for each in run.seeds)
    out = quote(str(run.folder.with_name(f"{run.folder.name}-seed{seed}")))
    return Step(
        "Train each method again with other seeds, and give all runs to minorkey report, which pairs them:",
        f"minorkey train {config} seed={seed} --out {out}",
    )


def _rates(run: Run, methods: Sequence[Run]) -> Iterator[Step]:
    """A rate for each method that trains the backbone: it may decide more than the method does."""
    trained = [each.scores.method for each in methods if not is_start(each.scores) and each.config]
    names = [name for name in dict.fromkeys(trained) if name != FROZEN]
    if len(names) > 1:
        command = f"minorkey tune {quote(str(run.folder / 'config.yaml'))} --methods {quote(','.join(names))}"
        yield Step(
            "Ask whether it is the rate: the source chooses one for each method, the lowest that is nearly as good:",
            f"{command} --rates {RATES} --out {quote(str(run.folder.with_name('rates')))}",
        )


def _own(run: Run) -> Step:
    train = " ".join(["minorkey train", *task_settings(run.scores.task)])
    return Step(
        "Do the same with your data and a backbone that has seen the world:",
        f"{train} --source MYDATA --unseen ELSEWHERE --backbone dinov2-small --out runs/mine",
    )
