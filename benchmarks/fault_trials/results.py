"""Trials of all rows: which there are, those that were done, and the table."""

import hashlib
import json
import random
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from fault_trials.material import Material
from fault_trials.sandbox import Sandbox
from fault_trials.verdict import Verdict

Trial = Callable[[random.Random, int, Sandbox, Material], Verdict]


@dataclass(frozen=True)
class Row:
    """A kind of trials: each is known by its number."""

    name: str
    trial: Trial
    trials: int
    sample: tuple[int, ...]  # those that the normal tests try


def do_trial(row: Row, index: int, material: Material) -> dict[str, Any]:
    """Do one trial in a folder of its own."""
    began, root = monotonic(), Path(tempfile.mkdtemp(prefix="fault-"))
    try:
        verdict = row.trial(random.Random(f"{row.name} {index}"), index, Sandbox(root / "trial"), material)
    except Exception:
        verdict = Verdict(f"{row.name} {index}", "the trial itself fails", traceback.format_exc()[-600:])
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return {"row": row.name, "index": index, **verdict.to_json(), "time": round(monotonic() - began, 2)}


def version(*places: Path) -> str:
    """Digest of files and folders of code: results of another version do not count."""
    digest = hashlib.sha256()
    for place in places:
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def read(file: Path) -> list[dict[str, Any]]:
    """Results of earlier calls; a line that was cut off is done again."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def table(done: list[dict[str, Any]], rows: list[Row]) -> str:
    """Markdown: trials held, and why others are not."""
    lines = ["| row | trials | held | not held | leave remains | why not |", "|---|---|---|---|---|---|"]
    for row in rows:
        mine = {result["index"]: result for result in done if result["row"] == row.name}.values()
        reasons = Counter(result["why"] for result in mine if result["why"])
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        held, remains = len(mine) - reasons.total(), sum(bool(result["remains"]) for result in mine)
        lines.append(f"| {row.name} | {len(mine)} of {row.trials} | {held} | {reasons.total()} | {remains} | {why} |")
    return "\n".join(lines)
