"""A finished run as the report reads it from its folder."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from minorkey.errors import ConfigError, DataError
from minorkey.evaluation.evidence_files import read_evidence, read_places
from minorkey.evaluation.scores import FINGERPRINTS, ScoreTable
from minorkey.labels import LabelSpace, label_space
from minorkey.labels.tables import read_yaml
from minorkey.system.names import below
from minorkey.system.reading import json_lines, reading, text_of, yaml_of
from minorkey.system.regular import regular_bytes
from minorkey.system.run_folder import RunFolder
from minorkey.system.saved_config import check_saved
from minorkey.tasks.evidence import Evidence, only_scored

START = "start"
"""Folder, among those of a demo, of the run without a step."""

Place = tuple[str, str]
"""Domain and key of a sample."""


@dataclass(frozen=True)
class Run:
    """Scores, log, config and sample pictures of one run."""

    folder: Path
    scores: ScoreTable
    log: list[dict[str, Any]]  # one record per logged step
    config: str  # YAML; empty where the folder has none
    evidence: dict[str, Evidence] | None  # by domain, scored classes only
    samples: dict[Place, Path]  # folder with image.png, and truth.png with prediction.png or boxes.json
    places: dict[Place, int] = field(default_factory=dict)  # of samples in the evidence; runs of before have none
    members: "tuple[Run, ...]" = ()  # of a method with several seeds: the runs that this is the mean of

    @property
    def seeds(self) -> "tuple[Run, ...]":
        """The runs behind it, one for each seed; by itself, where it is one run."""
        return self.members or (self,)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The config as values; empty where the folder has none."""
        with reading(self.folder / "config.yaml", "restore the file"):
            return dict(yaml_of(self.config) or {})

    @property
    def space(self) -> LabelSpace:
        """Its classes with their colours, as the run holds them; runs of before may name a file that is gone."""
        written = self.settings.get("label_space", self.scores.label_space)
        with suppress(ConfigError):
            space = label_space(written)
            if list(space.classes) == self.scores.classes:
                return space
        return label_space(self.scores.classes)


def runs_in(folder: Path) -> list[Path]:
    """The run folders that a folder means: itself or, where it is none, those in it, a run without a step first.

    Of a folder of `tune`, those that diverged are left out.
    """
    if any(path.exists() for path in (RunFolder(folder).metrics, RunFolder(folder).config)):
        return [folder]
    found = [RunFolder(path) for path in folder.glob("*")]
    inside = sorted(each.path for each in found if each.config.is_file() and not each.diverged.is_file())
    return sorted(inside, key=lambda path: path.name != START) or [folder]


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read run folders; raises as `read_run`, and `DataError` where there is none."""
    if not folders:
        raise DataError("no run folder given; name at least one folder with a metrics.json")
    return [read_run(Path(folder)) for folder in folders]


def read_run(folder: Path) -> Run:
    """Read a run folder; everything but `metrics.json` may be missing.

    Raises:
        DataError: There is no such folder, it has no `metrics.json`, or a file in it is broken.
    """
    if not folder.is_dir():
        raise DataError(f"no run folder {folder}; give the `out` folder of a training or evaluation")
    files = RunFolder(folder)
    if files.started and not files.metrics.is_file():
        files.require_trained()
    scores, places = ScoreTable.read(files.metrics), read_places(files)
    files.check_history()
    if files.config.is_file():
        check_saved(files, _read_config(files.config), read_yaml(files.config))
    return Run(
        folder=folder,
        scores=scores,
        log=read_log(files.log),
        config=_read_config(files.config) if files.config.is_file() else "",
        evidence=_read_evidence(files, scores),
        samples=_find_samples(files.samples, places),
        places=places,
    )


def same_images(runs: Iterable[Run], domain: str) -> bool:
    """Whether runs were judged on the same images of a domain, as far as their scores say which those were.

    Of a source whose `val` is drawn by the seed of a run, they are not.
    """
    judged = [score for run in runs for score in run.scores.domains if score.domain == domain]
    return all(len({getattr(score, name) for score in judged} - {None}) < 2 for name in FINGERPRINTS)


def _read_config(file: Path) -> str:
    with reading(file, "restore the file"):
        return text_of(regular_bytes(file))


def read_log(path: Path) -> list[dict[str, Any]]:
    """One record per line of a `log.jsonl`; none where there is no such file.

    Raises:
        DataError: A line is not JSON.
    """
    if not path.is_file():
        return []
    with reading(path, "delete the broken line", what="not one JSON record per line: "):
        return json_lines(regular_bytes(path))[0]


def _read_evidence(files: RunFolder, scores: ScoreTable) -> dict[str, Evidence] | None:
    stored = read_evidence(files, scores.protocol, len(scores.classes))
    if stored is None:
        return None
    scored = scores.protocol.classes_scored
    return {domain: only_scored(evidence, scores.classes, scored) for domain, evidence in stored.items()}


def _find_samples(root: Path, known: Iterable[Place]) -> dict[Place, Path]:
    """The folders `<domain>/<key>`; a key may hold slashes, as those of classified images and of joined splits do.

    Args:
        root: of the folders.
        known: places of the images that were kept last; where there are some, what lies beside them is of an earlier
            judging. None: of a run of before they were written down.
    """
    named = {below(root, *place): place for place in known}
    folders = [image.parent for image in sorted(root.glob("*/*/**/image.png"))]
    if named:
        return {named[folder]: folder for folder in folders if folder in named}
    return {_place(folder.relative_to(root).parts): folder for folder in folders}


def _place(parts: Sequence[str]) -> Place:
    domain, *key = parts
    return domain, "/".join(key)
