"""Rows on disk and in words."""

import csv
import io
import json
from dataclasses import replace
from typing import get_args

import pytest
from rich.console import Console

from minorkey.adapters.options import Role
from minorkey.errors import DataError
from minorkey.spectrum import DriftRow, Spectrum, UpdateRow, WeightRow, read_spectrum, write_spectrum
from minorkey.spectrum.measures import NOTHING, Share
from minorkey.spectrum.summary import findings, percent, pool
from minorkey.spectrum.tables import spectrum_tables

WEIGHT = WeightRow("layer.0.mlp.fc1", "fc1", 0, 8, 4, 2, 14.0, 2.5, 1.6, 0.0123456789, (3.0, 2.0, 1.0, 0.0))
UPDATE = UpdateRow(
    "layer.0.mlp.fc1", "fc1", 0, 8, 4, 2, 3.0, 0.1, 1.5, 1.2,
    Share(0.5, 0.4, 0.3), Share(0.1, 0.2, 0.05), Share(0.25, 0.5, 0.125), 1, (1.0, 0.5, 0.0, 0.0),
)  # fmt: skip
STILL = replace(UPDATE, block=1, energy=0.0, relative_size=0.0, major=NOTHING, minor=NOTHING, intruders=0)
DRIFT = [
    DriftRow(0, "clear", "source", 8, 0.1, 0.01, 0.99),
    DriftRow(0, "night", "unseen", 8, 0.3, 0.03, 0.97),
    DriftRow(0, "fog", "unseen", 8, 0.2, 0.02, 0.98),
]
SPECTRUM = Spectrum("runs/soma", 2, [WEIGHT], [UPDATE, STILL], DRIFT)


def test_what_is_read_is_what_was_written(tmp_path):
    write_spectrum(SPECTRUM, tmp_path)
    assert read_spectrum(tmp_path) == replace(SPECTRUM, weights=[replace(WEIGHT, minor_share=0.0123457)])


def test_tables_are_flat_and_without_the_singular_values(tmp_path):
    write_spectrum(SPECTRUM, tmp_path)
    rows = list(csv.DictReader((tmp_path / "update.csv").open()))
    assert (rows[0]["layer"], rows[0]["minor_left"], rows[0]["random_both"]) == ("layer.0.mlp.fc1", "0.1", "0.125")
    assert "singular_values" not in rows[0]
    assert json.loads((tmp_path / "update.json").read_text())["rows"][0]["singular_values"] == [1.0, 0.5, 0.0, 0.0]


def test_what_a_later_survey_has_not_is_gone(tmp_path):
    write_spectrum(SPECTRUM, tmp_path)
    write_spectrum(replace(SPECTRUM, drift=[]), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "update.csv", "update.json", "weights.csv", "weights.json"
    ]  # fmt: skip
    assert read_spectrum(tmp_path).drift == []


@pytest.mark.parametrize("content", ["{", "[]", '{"target": "x", "rank": 2, "rows": [{"layer": 3}]}'])
def test_a_broken_file_is_named(tmp_path, content):
    write_spectrum(SPECTRUM, tmp_path)
    (tmp_path / "drift.json").write_text(content)
    with pytest.raises(DataError, match=r"cannot read '.*drift.json': .+; run `minorkey spectrum` again"):
        read_spectrum(tmp_path)


def test_no_spectrum(tmp_path):
    with pytest.raises(DataError, match="no spectrum in '.*' .weights.json is missing.; run `minorkey spectrum` first"):
        read_spectrum(tmp_path)


def test_shares_are_pooled_by_energy():
    other = replace(UPDATE, energy=1.0, relative_size=0.3, minor=Share(0.9, 0.8, 0.7), intruders=2)
    pooled = pool([UPDATE, other, STILL])
    assert pooled.minor.left == pytest.approx((3 * 0.1 + 1 * 0.9) / 4)
    assert pooled.relative_size == pytest.approx((0.1 + 0.3 + 0) / 3)
    assert (pooled.weights, pooled.changed, pooled.intruders) == (3, 2, 3)


def test_the_findings_in_words():
    weights, update, share, intruders, drift = findings(SPECTRUM)
    assert "the 2 smallest singular components hold 1.2 %" in weights
    assert "changed 1 of 2 weights, by 5.0 % of their norm" in update
    assert "25 % lies in the minor 2 components on at least one side and 60 % in the major 2" in share
    assert "where a random update has 62 %" in share
    assert intruders == "Intruder dimensions: 1 of the 4 leading directions of the changed weights."
    assert (
        drift
        == "The output of the last block moved by 10 % on clear (source), by 20 % on fog to 30 % on night (unseen)."
    )
    assert findings(replace(SPECTRUM, update=[STILL], drift=[]))[1:] == ["The training changed none of these weights."]


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (1e-7, "<0.001 %"), (0.0002, "0.020 %"), (0.0996, "10 %"), (1, "100 %")]
)
def test_percent_is_short(share, text):
    assert percent(share) == text


def test_the_tables_of_a_large_run_fit_80_columns():
    domains = ["clear", "night", "fog", "rain", "snow", "infrared", "elsewhere"]
    drift = [DriftRow(23, name, "source" if name == "clear" else "unseen", 8, 0.00123, 0, 1) for name in domains]
    update = replace(UPDATE, block=23, relative_size=0.00012, effective_rank=1023.4, intruders=60)
    weights = [replace(WEIGHT, block=23, role=role) for role in get_args(Role)]
    console = Console(width=80, record=True, file=io.StringIO())
    for table in spectrum_tables(Spectrum("large", 16, weights, [update], drift)):
        console.print(table)
    rows = [line.split() for line in console.export_text().splitlines() if line.strip().startswith("23 ")]
    assert [len(row) for row in rows] == [8, 8, 10, 8]
    assert rows[2] == ["23", "0.012", "1023", "30", "5.0", "12", "60", "25", "62", "60"]


def test_only_what_was_measured_is_tabled():
    assert len(spectrum_tables(SPECTRUM)) == 4
    assert len(spectrum_tables(replace(SPECTRUM, update=[], drift=[]))) == 2
