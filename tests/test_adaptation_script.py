"""scripts/adaptation.py: what it varies, and what is read off the curves."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from minorkey.system.run_folder import RunFolder

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import adaptation

    return adaptation


def _curve(*mious: float) -> np.ndarray:
    return np.array([(10.0 * step, 0.0, miou) for step, miou in enumerate(mious)])


def test_the_largest_fall_from_one_look_to_the_next(script):
    assert script.Run(None, _curve(20.0, 24.0, 21.5, 22.0, 20.5)).largest_fall == 2.5
    assert script.Run(None, _curve(20.0, 24.0)).largest_fall == 0


def test_the_figure_has_a_thin_line_for_each_seed_and_a_thick_one_for_their_mean(script):
    ways = [script.SOURCE_ONLY, script.Way("self_training", "self"), script.Way("self_training", "ema")]
    runs = {way: [script.Run(None, _curve(20.0 + seed, 22.0 + seed)) for seed in range(3)] for way in ways}
    soma, lora = script.curves({"soma": runs, "lora": runs}).axes
    assert (soma.get_title(), lora.get_title()) == ("SoMA, self-training", "LoRA, self-training")
    thick = [line for line in soma.get_lines() if line.get_linewidth() == 2]
    assert [text.get_text() for text in soma.figure.legends[0].get_texts()] == ["source-only", "self", "ema"]
    assert len(soma.get_lines()) - len(thick) == 9
    assert list(thick[1].get_ydata()) == [21, 23]


def test_a_curve_goes_through_all_rounds_and_is_that_of_what_is_deployed(script, tmp_path):
    for folder, mious in ((tmp_path / "rounds" / "0", (0.1, 0.2)), (tmp_path, (0.3,))):
        folder.mkdir(parents=True, exist_ok=True)
        records = [
            {"step": 5 * place, "watched": {"student": {"night": miou}, "teacher": {"night": 2 * miou}}}
            for place, miou in enumerate(mious, 1)
        ]
        lines = [json.dumps(record) for record in (*records, {"step": 99, "loss": 1.0})]
        (folder / "log.jsonl").write_text("\n".join(lines))
    curve = script.read_curve(RunFolder(tmp_path), "teacher")
    assert curve.tolist() == [[5, 10, 20], [10, 20, 40], [15, 30, 60]]


def test_transda_is_balanced_only_where_that_is_asked_for(script):
    args = Namespace(
        balances=[""],
        transda_balances=["", "prior"],
        regimes=["self_training", "transda"],
        teachers=["self"],
        oracle=False,
    )
    ways = script.ways(args)
    assert [str(way) for way in ways] == ["source-only", "self_training, self", "transda, self", "transda, self, prior"]
    balances = [
        override for way in ways[1:] for override in way.overrides(script.SETTINGS["night"]) if "balance" in override
    ]
    assert balances == ["self_training.balance=prior", "transda.balance=null", "transda.balance=prior"]
