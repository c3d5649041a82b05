import json

from minorkey.evaluation.scores import ScoreTable, TrainingCost
from minorkey.reporting.details import (
    cost_rows,
    domain_class_rows,
    domain_detail_rows,
    missing_class_notes,
    unseen_class_rows,
)
from minorkey.reporting.runs import read_run


def test_class_rows_average_unseen_domains_only(runs):
    tables = [read_run(folder).scores for folder in runs]
    rows = {row.name: row for row in unseen_class_rows(tables)}
    expected = sum(score.by_class["road"] for score in tables[0].unseen) / 4
    assert rows["road"].values[0] == 100 * expected
    assert rows["road"].best == max(rows["road"].values)
    assert "train" not in rows


def test_a_class_missing_in_one_domain_is_averaged_over_the_others(runs):
    values = json.loads((runs[0] / "metrics.json").read_text())
    values["domains"][1]["by_class"]["car"] = None
    table = ScoreTable.from_json(values)
    car = next(row for row in unseen_class_rows([table]) if row.name == "car")
    assert car.values == [100 * sum(score.by_class["car"] for score in table.unseen[1:]) / 3]
    assert [row.values[1] for row in domain_class_rows(table) if row.name == "car"] == [None]


def test_further_scores_are_listed_by_domain(runs):
    values = json.loads((runs[0] / "metrics.json").read_text())
    for score in values["domains"]:
        score["details"] |= {"AP large": None}
    values["domains"][0]["details"]["pixel accuracy"] = None
    rows = {row.name: row.values for row in domain_detail_rows(ScoreTable.from_json(values))}
    assert list(rows) == ["mean accuracy", "pixel accuracy"]
    assert rows["pixel accuracy"] == [None, *(100 * s["details"]["pixel accuracy"] for s in values["domains"][1:])]


def test_costs_are_readable_and_unmeasured_ones_left_out():
    cost = TrainingCost(trained_parameters=462_000, total_parameters=21_000_000, seconds=4000, learning_rate=1e-4)
    assert cost_rows([cost, TrainingCost(seconds=59)]) == [
        ("Trained parameters", ["462 k", ""]),
        ("Share of all parameters", ["2.2 %", ""]),
        ("Training time", ["67 min", "59 s"]),
        ("Learning rate", ["0.0001", ""]),
    ]


def test_numbers_near_a_unit_do_not_turn_into_powers_of_ten():
    texts = [cost_rows([TrainingCost(trained_parameters=n)])[0][1][0] for n in (999, 999_999, 1_500_000_000)]
    assert not any("e" in text for text in texts), texts


def test_missing_classes_are_said_once_per_set(runs):
    table = read_run(runs[0]).scores
    (note,) = missing_class_notes([table, table])
    assert note.startswith("Never seen in the labels of any domain, so not in the mIoU there: wall, ")
    values = json.loads((runs[0] / "metrics.json").read_text())
    values["domains"][2]["missing_classes"] = ["car"]
    notes = missing_class_notes([ScoreTable.from_json(values)])
    assert "Never seen in the labels of night, so not in the mIoU there: car." in notes


def test_classes_that_are_only_predicted_are_told_of(runs):
    values = json.loads((runs[0] / "metrics.json").read_text())
    night = values["domains"][2]
    night["by_class"]["car"], night["class_details"]["accuracy"]["car"] = 0.0, None
    values["protocol"]["absent"] = "zero"
    notes = missing_class_notes([ScoreTable.from_json(values)])
    assert "Predicted, but not in the labels of night, so 0 in the mIoU: car." in notes


def test_a_class_counts_where_labels_show_it_whatever_a_run_finds_elsewhere(runs):
    values = json.loads((runs[0] / "metrics.json").read_text())
    night = values["domains"][2]
    night["by_class"]["car"], night["class_details"]["accuracy"]["car"] = 0.0, None
    table = ScoreTable.from_json(values)
    car = next(row for row in unseen_class_rows([table]) if row.name == "car")
    others = [score.by_class["car"] for score in table.unseen if score.domain != "night"]
    assert car.values == [100 * sum(others) / 3]


def test_what_one_run_predicts_and_another_does_not_is_told_once(runs):
    values = json.loads((runs[0] / "metrics.json").read_text())
    night = values["domains"][2]
    night["by_class"]["car"], night["class_details"]["accuracy"]["car"] = 0.0, None
    predicts = ScoreTable.from_json(values)
    night["by_class"]["car"], night["missing_classes"] = None, ["car"]
    notes = missing_class_notes([predicts, ScoreTable.from_json(values)])
    assert not any("Never seen in the labels of night" in note for note in notes)
    assert (
        "Predicted, but not in the labels of night, so 0 in the mIoU of a run that predicts it, and not in that of "
        "others: car." in notes
    )
