import io

from rich.console import Console

from minorkey.reporting.runs import read_run
from minorkey.reporting.tables import build_grid, comparable, markdown_table, rich_table, run_labels


def tables(folders):
    return [read_run(folder).scores for folder in folders]


def test_columns_set_the_source_apart_and_end_with_the_summary(runs):
    kinds = [column.kind for column in build_grid(tables(runs)).columns]
    assert kinds == ["source", "unseen", "unseen", "unseen", "unseen", "mean", "worst"]


def test_cells_are_the_scores_in_percent(runs):
    scores = tables(runs)
    grid = build_grid(scores)
    cell = grid.rows[1].cells[2]
    score = next(score for score in scores[1].domains if score.domain == grid.columns[2].title)
    assert cell.value == 100 * score.score
    assert cell.interval == tuple(100 * bound for bound in score.interval)
    assert grid.rows[0].cells[-1].note == scores[0].worst.domain


def test_exactly_the_highest_of_each_column_is_best(runs):
    grid = build_grid(tables(runs))
    for column in zip(*(row.cells for row in grid.rows), strict=True):
        assert [cell.best for cell in column] == [cell.value == max(c.value for c in column) for cell in column]


def test_a_single_run_has_no_best(runs):
    assert not any(cell.best for cell in build_grid(tables(runs[:1])).rows[0].cells)


def test_another_protocol_is_marked_and_never_best(runs, make_run):
    better = make_run("pissa", 1.0, resize=512)
    scores = tables([better, *runs])
    grid = build_grid(scores)
    assert comparable(scores) == [False, True, True, True, True]
    assert [row.mark for row in grid.rows] == ["†", "", "", "", ""]
    assert not any(cell.best for cell in grid.rows[0].cells)
    assert grid.rows[0].cells[0].value > grid.rows[1].cells[0].value
    assert len(grid.footnotes) == 1
    assert grid.footnotes[0].startswith("† Not comparable with the other rows: measured under another protocol (")
    assert "long side 512 px" in grid.footnotes[0]


def test_a_mark_stands_for_one_footnote(runs, make_run):
    others = [make_run(f"pissa-{size}", 0.9, resize=size) for size in range(512, 518)]
    grid = build_grid(tables([*runs, *others]))
    assert [row.mark for row in grid.rows[-6:]] == ["†", "‡", "§", "¶", "††", "‡‡"]
    assert [note.partition(" ")[0] for note in grid.footnotes] == ["†", "‡", "§", "¶", "††", "‡‡"]


def test_another_metric_is_named(runs):
    *same, other = tables(runs)
    other = other.model_copy(update={"protocol": other.protocol.model_copy(update={"metric": "accuracy"})})
    (note,) = build_grid([*same, other]).footnotes
    assert f"({other.protocol.id()}: accuracy in %; " in note


def test_other_images_are_marked_too(runs, make_run):
    grid = build_grid(tables([*runs, make_run("pissa", 0.9, images=3)]))
    assert grid.rows[-1].mark == "†"
    assert grid.footnotes == [
        "† Not comparable with the other rows: judged on other images, or images with other labels."
    ]


def test_as_many_other_images_are_other_images(runs):
    """Where scores say which images they are of; those of before do not, and then their number has to do."""
    scores = tables(runs)
    one, other = ([_of_images(table, name) for table in scores] for name in ("a", "b"))
    assert comparable([one[0], *other[1:]]) == [False, True, True, True]
    assert comparable(one) == comparable([scores[0], *other[1:]]) == [True] * 4


def _of_images(table, name, field="image_set"):
    return table.model_copy(update={"domains": [s.model_copy(update={field: name}) for s in table.domains]})


def test_images_of_the_same_names_with_other_labels_are_other_images(runs):
    scores = [_of_images(table, "0 to 9") for table in tables(runs)]
    one, other = ([_of_images(table, name, "label_set") for table in scores] for name in ("a", "b"))
    assert comparable([one[0], *other[1:]]) == [False, True, True, True]
    assert comparable([scores[0], *other[1:]]) == [True] * 4, "scores of before do not say what is labelled"


def test_neither_the_order_of_domains_nor_that_of_classes_makes_a_difference(runs):
    first, *others = tables(runs)
    turned = first.model_copy(
        update={
            "domains": first.domains[::-1],
            "protocol": first.protocol.model_copy(update={"classes_scored": ("sky", "road")}),
        }
    )
    chosen = [
        table.model_copy(
            update={"protocol": table.protocol.model_copy(update={"classes_scored": ("road", "sky")})},
        )
        for table in others
    ]
    assert comparable([turned, *chosen]) == [True] * 4
    (note,) = build_grid([first, *chosen]).footnotes
    assert "all classes" in note
    (note,) = build_grid([*tables(runs)[:2], turned]).footnotes
    assert "2 classes (sky, road)" in note


def test_two_kinds_of_difference_get_two_marks(runs, make_run):
    extra = [
        make_run("pissa", 0.9, resize=512),
        make_run("dora", 0.9, flip=True),
        make_run("x", 0.9, flip=True),
    ]
    assert [row.mark for row in build_grid(tables([*runs, *extra])).rows[-3:]] == ["†", "‡", "‡"]


def test_runs_of_one_method_are_told_apart_by_name(runs, make_run):
    again = make_run("soma", 0.9, seed=3)
    assert run_labels(tables([runs[0], again, runs[1]])) == ["SoMA (soma-0)", "SoMA (soma-3)", "LoRA"]
    twice = tables([runs[0], runs[0], runs[1]])  # as judged under two protocols
    assert run_labels(twice) == ["SoMA (soma-0)", "SoMA (soma-0, 2)", "LoRA"]


def test_markdown_has_a_row_per_run_and_bold_bests(runs):
    lines = markdown_table(tables(runs)).splitlines()
    assert lines[0].startswith("| mIoU, % | clear (source) | dusk |")
    assert len(lines) == 2 + len(runs)
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| SoMA | **")
    assert "**" not in lines[-1]


def test_no_name_of_a_domain_is_a_cell_more(make_run):
    (table,) = tables([make_run("soma", 0.9)])
    domains = [each.model_copy(update={"domain": f"{each.domain}|x"}) for each in table.domains]
    worst = min(domains, key=lambda each: each.score)
    lines = markdown_table([table.model_copy(update={"domains": domains, "worst": worst})]).splitlines()
    assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1
    assert r"\|x) |" in lines[-1]


def test_terminal_table_shows_intervals_and_footnotes(runs, make_run):
    console = Console(file=io.StringIO(), width=200)
    console.print(rich_table(tables([*runs, make_run("pissa", 0.9, resize=512)])))
    text = console.file.getvalue()
    scores = tables(runs)[0].domains[0]
    assert f"{100 * scores.score:.1f} [{100 * scores.interval[0]:.1f}, {100 * scores.interval[1]:.1f}]" in text
    assert "PiSSA†" in text
    assert "Not comparable with the other rows" in text
