"""Components removed, against numpy and against weights set to zero by hand; what is written, and going on."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from minorkey.adapters.targets import find_targets
from minorkey.errors import AdapterError, ConfigError, DataError, StorageError
from minorkey.evaluation.scores import ScoreTable
from minorkey.reporting.page import build_report
from minorkey.runs.assemble import open_judged
from minorkey.runs.load import config_of, load
from minorkey.runs.train import train
from minorkey.spectrum.knockout import analysis
from minorkey.spectrum.knockout.analysis import analyse
from minorkey.spectrum.knockout.files import write_knockout
from minorkey.spectrum.knockout.knockout import knockout
from minorkey.spectrum.knockout.plots import class_figure, loss_figure, mean_class_loss
from minorkey.spectrum.knockout.removal import Removal, without_components
from minorkey.spectrum.knockout.rows import KnockoutRow
from minorkey.spectrum.knockout.suggestion import suggest
from minorkey.spectrum.knockout.table import knockout_table
from minorkey.system.run_folder import RunFolder


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (4, 3, 3, 3), (5, 1)])
@pytest.mark.parametrize("which", ["major", "minor"])
def test_components_against_numpy(shape: tuple[int, ...], which: str) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    k = min(2, weight.flatten(1).shape[1])
    u, s, vh = np.linalg.svd(weight.flatten(1).double().numpy(), full_matrices=False)
    s[slice(k) if which == "major" else slice(len(s) - k, None)] = 0
    expected = ((u * s) @ vh).reshape(shape)
    np.testing.assert_allclose(without_components(weight, k, which), expected, atol=1e-6)


def test_type_is_kept_and_all_components_leave_zero() -> None:
    weight = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    rest = without_components(weight, 4, "minor")
    assert rest.dtype == torch.bfloat16
    assert rest.abs().max() < 1e-6


@pytest.mark.parametrize("k", [0, 5])
def test_a_count_out_of_range(k: int) -> None:
    with pytest.raises(AdapterError, match="expected 1 to 4"):
        without_components(torch.ones(4, 6), k, "major")


class Fused(nn.Module):
    """Two blocks with a fused projection, as in timm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"attn": nn.ModuleDict({"qkv": nn.Linear(8, 24)})}).requires_grad_(False) for _ in range(2)
        )


def test_parts_of_a_fused_projection_are_decomposed_apart_and_restored_after_an_error() -> None:
    network = Fused()
    intact = {name: value.clone() for name, value in network.state_dict().items()}
    removal = Removal(find_targets(network), share=0.25)
    with pytest.raises(RuntimeError, match="broke off"), removal.applied(1, "major"):  # noqa: PT012
        weight = network.state_dict()["blocks.1.attn.qkv.weight"].numpy()
        for part, before in zip(np.split(weight, 3), intact["blocks.1.attn.qkv.weight"].chunk(3), strict=True):
            left = np.linalg.svd(part, compute_uv=False)
            np.testing.assert_allclose(left[:6], np.linalg.svd(before, compute_uv=False)[2:], rtol=1e-4)
        assert torch.equal(network.state_dict()["blocks.0.attn.qkv.weight"], intact["blocks.0.attn.qkv.weight"])
        raise RuntimeError("broke off")
    for name, value in network.state_dict().items():
        assert torch.equal(value, intact[name])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("knockout")


@pytest.fixture(scope="module")
def rows(finished_run: RunFolder, folder: Path) -> list[KnockoutRow]:
    return knockout(finished_run.path, components=1.0, images=4, out=folder, console=Console(quiet=True))


def test_one_row_per_block_end_and_domain(rows: list[KnockoutRow]) -> None:
    expected = [
        (block, which, domain)
        for which in ("major", "minor")
        for block in (0, 1, 2, 3, None)
        for domain in ("clear", "night")
    ]
    assert [(row.block, row.which, row.domain) for row in rows] == expected


def test_intact_scores_are_those_of_the_run(rows: list[KnockoutRow], finished_run: RunFolder) -> None:
    scores = {score.domain: score.score for score in ScoreTable.read(finished_run.metrics).domains}
    assert {row.domain: row.intact for row in rows} == pytest.approx(scores)


def test_only_the_scored_classes_count(make_config, tmp_path: Path) -> None:
    quiet = Console(quiet=True)
    train(make_config(evaluation={"classes": ["road", "sky"], "pictures": 0}), tmp_path / "run", console=quiet)
    rows = knockout(tmp_path / "run", which=("minor",), blocks=[0], images=4, console=quiet)
    scores = ScoreTable.read(tmp_path / "run" / "metrics.json").domains
    assert {row.domain: row.intact for row in rows} == pytest.approx({score.domain: score.score for score in scores})
    assert {name for row in rows for name, loss in row.class_loss.items() if loss is not None} == {"road", "sky"}


def test_where_no_scored_class_is_labelled_it_is_said(make_config, tmp_path: Path) -> None:
    quiet = Console(quiet=True)
    train(make_config(evaluation={"classes": ["train"], "pictures": 0}), tmp_path / "run", console=quiet)
    with pytest.raises(DataError, match="nothing that a score counts is labelled in what is judged"):
        knockout(tmp_path / "run", which=("minor",), blocks=[0], images=4, console=quiet)


def test_without_all_components_as_with_weights_of_zero(rows: list[KnockoutRow], finished_run: RunFolder) -> None:
    predictor = load(finished_run.path)
    for target in find_targets(predictor.model.backbone.backbone):
        target.weight.detach().zero_()
    config = config_of(finished_run.path)
    for judged in open_judged(config, predictor.space, Console(quiet=True)):
        pairs = [(predictor.predict_one(s.image).labels, s.labels) for s in map(judged.reader.__getitem__, range(4))]
        predicted, truth = (np.concatenate([part.ravel() for part in parts]) for parts in zip(*pairs, strict=True))
        predicted = predicted[truth != 255]
        truth = truth[truth != 255]
        ious = [
            np.sum((predicted == c) & (truth == c)) / np.sum((predicted == c) | (truth == c)) for c in np.unique(truth)
        ]
        for row in rows:
            if row.block is None and row.domain == judged.reader.domain:
                assert row.without == pytest.approx(np.mean(ious))
                assert row.loss == pytest.approx(row.intact - np.mean(ious))
                assert row.low <= row.loss <= row.high
                present = [loss for loss in row.class_loss.values() if loss is not None]
                assert np.mean(present) == pytest.approx(row.loss)


def test_goes_on_after_the_last_whole_line(rows: list[KnockoutRow], folder: Path, finished_run: RunFolder) -> None:
    log = folder / "knockout.jsonl"
    whole = log.read_text()
    log.write_text(whole[: len(whole) // 2])
    again = knockout(finished_run.path, components=1.0, images=4, out=folder, console=Console(quiet=True))
    assert again == rows
    assert log.read_text() == whole


def test_other_settings_or_a_damaged_file_are_refused(
    rows: list[KnockoutRow], folder: Path, finished_run: RunFolder
) -> None:
    with pytest.raises(ConfigError, match="was made with images 4, now asked for with 2; choose another --out"):
        knockout(finished_run.path, components=1.0, images=2, out=folder, console=Console(quiet=True))
    broken = folder / "broken"
    broken.mkdir()
    (broken / "knockout.jsonl").write_text("{}\n[{}]\n")
    with pytest.raises(StorageError, match="cannot read .*; delete it"):
        knockout(finished_run.path, out=broken, console=Console(quiet=True))


def test_values_out_of_range(finished_run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"components is 1.5; expected a share"):
        knockout(finished_run.path, components=1.5, out=tmp_path)
    with pytest.raises(ConfigError, match="images is 1; expected at least 2"):
        knockout(finished_run.path, images=1, out=tmp_path)
    with pytest.raises(ConfigError, match=r"no block 4; the backbone's blocks are 0 ... 3"):
        knockout(finished_run.path, blocks=[1, 4], out=tmp_path, console=Console(quiet=True))


def test_pictures_show_the_rows(rows: list[KnockoutRow]) -> None:
    mesh = loss_figure(rows, "minor").axes[0].collections[0]
    losses = [100 * row.loss for row in rows if row.which == "minor"]
    np.testing.assert_allclose(np.ravel(mesh.get_array()), losses)
    panel = class_figure(rows).axes[0]
    names = [label.get_text() for label in panel.get_yticklabels()]
    source = [row for row in rows if row.block is None and row.which == "major" and row.role == "source"]
    widths = [bar.get_width() for bar in panel.containers[0]]
    np.testing.assert_allclose(widths, [mean_class_loss(source, name) for name in names])


def test_table_has_the_mean_over_the_domains_of_a_role(rows: list[KnockoutRow]) -> None:
    unseen = next(row for row in rows if row.block == 2 and row.which == "minor" and row.role == "unseen")
    assert list(knockout_table(rows).columns[4].cells)[2] == f"{100 * unseen.loss:+.1f}"


def test_files_of_the_command(command: Callable[..., tuple[int, str]], finished_run: RunFolder, tmp_path: Path) -> None:
    asked = (finished_run.path, "--knockout", "--images", "2", "--components", "0.25", "--out", tmp_path)
    assert command("spectrum", *asked)[0] == 0
    found = {path.name for path in tmp_path.iterdir()}
    pictures = {f"knockout_{name}.png" for name in ("major", "minor", "classes")}
    assert found >= {"knockout.csv", "knockout.json", "knockout.jsonl", *pictures}
    with (tmp_path / "knockout.csv").open() as file:
        lines = list(csv.DictReader(file))
    content = json.loads((tmp_path / "knockout.json").read_text())
    assert [line["block"] for line in lines[:10:2]] == ["0", "1", "2", "3", "all"]
    for line, row in zip(lines, content["rows"], strict=True):
        assert float(line["loss"]) == pytest.approx(100 * row["loss"], abs=1e-3)
    _, suggestion = analyse(finished_run.path, components=0.25, images=2, out=tmp_path, console=Console(quiet=True))
    assert content["suggestion"]["reason"] == suggestion.reason
    for option, value in (("--rank", "3"), ("--components", "0.5"), ("--with-unseen", None)):
        mode = ["--knockout"] if option == "--rank" else []
        code, error = command("spectrum", finished_run.path, *mode, option, *([value] if value else []))
        assert (code, error.startswith(f"minorkey: {option} is ")) == (2, True), error
    code, error = command("spectrum", finished_run.path, "--knockout", "--components", "7", "--out", tmp_path)
    assert code == 2
    assert "components is 7" in error


def test_a_backbone_is_judged_by_a_frozen_probe(
    backbone_folder: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"world": {"size": [64, 32]}, "transform": {"crop": [32, 32]}, "unseen": "world:night"}
    for key, value in {**small, "training": {"steps": 2}}.items():
        monkeypatch.setitem(analysis.PROBE, key, value)
    out = tmp_path / "out"
    rows, suggestion = analyse(backbone_folder, images=2, out=out, console=console)
    config = config_of(out / "probe")
    assert (config.method.name, config.head.name, config.backbone.name) == ("frozen", "linear", str(backbone_folder))
    assert "judging a frozen probe" in console.file.getvalue()
    assert analyse(backbone_folder, images=2, out=out, console=Console(quiet=True)) == (rows, suggestion)


def test_the_page_shows_a_knockout(finished_run: RunFolder, rows: list[KnockoutRow], tmp_path: Path) -> None:
    run = tmp_path / "soma"
    shutil.copytree(finished_run.path, run)
    suggestion = suggest(rows)
    write_knockout(rows, suggestion, RunFolder(run).spectrum)
    page = build_report([run], tmp_path / "page.html").read_text()
    assert f"suggested first_block {suggestion.first_block}" in page
    assert page.count("components of the weights of a block") == 1
    (RunFolder(run).spectrum / "knockout.json").write_text("{}")
    with pytest.raises(StorageError, match=r"cannot read '.*knockout.json'"):
        build_report([run], tmp_path / "page.html")
