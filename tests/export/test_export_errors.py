"""What `minorkey export` refuses, and what it leaves alone."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from minorkey.errors import AdapterError
from minorkey.export.run import export_run
from minorkey.system.run_folder import RunFolder

Command = Callable[..., tuple[int, str]]


def one_line(outcome: tuple[int, str], *parts: str) -> None:
    code, error = outcome
    assert code == 2
    assert error.startswith("minorkey: ")
    assert error.count("\n") == 1
    for part in parts:
        assert part in error


def test_no_run(command: Command, tmp_path: Path) -> None:
    one_line(command("export", tmp_path / "none"), "no run in", "config.yaml is missing")


def test_an_unfinished_run(command: Command, finished_run: RunFolder, tmp_path: Path) -> None:
    shutil.copy(finished_run.config, tmp_path / "config.yaml")
    one_line(command("export", tmp_path), "has not ended", f"minorkey train --resume {tmp_path}")


def test_an_unknown_kind(command: Command, finished_run: RunFolder) -> None:
    one_line(
        command("export", finished_run.path, "--to", "modle"),
        "unknown export 'modle'; did you mean 'model'? Known: adapter, model",
    )


def test_a_method_without_adapter(command: Command, trained: Callable[..., RunFolder]) -> None:
    run = trained(method="frozen")
    one_line(
        command("export", run.path),
        "method 'frozen' has no adapter to export",
        f"minorkey export {run.path} --to model",
    )
    assert not (run.path / "export" / "adapter").exists()


def test_other_base_weights(
    make_config: Callable, backbone_folder: Path, trained: Callable[..., RunFolder], tmp_path: Path
) -> None:
    base = shutil.copytree(backbone_folder, tmp_path / "base")
    run = trained(backbone=str(base), method="frozen")
    weights = load_file(base / "model.safetensors")
    save_file({name: w + 1e-3 for name, w in weights.items()}, base / "model.safetensors", {"format": "pt"})
    for kind in ("adapter", "model"):
        with pytest.raises(AdapterError, match="was trained on base weights [0-9a-f]{12}, but backbone"):
            export_run(run.path, kind)


@pytest.mark.parametrize("repo", ["name", "a/b/c", "me/..", "me/my model"])
def test_no_repository(repo: str, command: Command, finished_run: RunFolder, tmp_path: Path) -> None:
    one_line(
        command("export", finished_run.path, "--out", tmp_path / "out", "--push-to", repo),
        f"'{repo}' is no repository of a hub; expected user/name",
    )
    assert not (tmp_path / "out").exists()


def test_an_upload_that_fails_keeps_the_export(command: Command, finished_run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"  # the tests run with HF_HUB_OFFLINE=1
    one_line(
        command("export", finished_run.path, "--out", out, "--push-to", "me/mine"),
        f"'{out}' is written, but could not be uploaded to 'me/mine' (", f"hf upload me/mine {out}",
    )  # fmt: skip
    assert (out / "adapter_model.safetensors").is_file()


def test_a_folder_of_somebody_else(command: Command, finished_run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    one_line(command("export", finished_run.path, "--out", tmp_path), "holds 'thesis.tex', which no export wrote")
    one_line(command("export", finished_run.path, "--out", tmp_path / "thesis.tex"), "is a file")
    one_line(command("export", finished_run.path, "--out", finished_run.adapter), "which no export wrote")
    assert (tmp_path / "thesis.tex").read_text() == "years"


@pytest.mark.parametrize("out", [".", ".."])
def test_a_folder_without_a_name(
    out: str, command: Command, finished_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one_line(command("export", finished_run.path, "--out", out), f"'{out}' cannot be replaced by an export")


def test_an_earlier_export_is_replaced_and_what_was_added_is_not(finished_run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_run(finished_run.path, "model", out=out)
    exported = export_run(finished_run.path, "adapter", out=out)
    assert not (out / "model.safetensors").exists()
    assert f'folder = "{out}"' in exported.code
    (out / "note.txt").write_text("mine")
    with pytest.raises(Exception, match=r"holds 'note\.txt', which no export wrote"):
        export_run(finished_run.path, "adapter", out=out)
    assert (out / "note.txt").read_text() == "mine"


def test_the_command_says_what_it_wrote_and_how_to_load_it(
    finished_run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from minorkey.cli import app

    result = CliRunner().invoke(app, ["export", str(finished_run.path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"adapter: {tmp_path / 'out'}\n")
    assert "PeftModel.from_pretrained(backbone, folder)" in result.stdout


def test_weights_are_those_of_the_run(finished_run: RunFolder, tmp_path: Path) -> None:
    out = export_run(finished_run.path, out=tmp_path / "out").folder
    exported = load_file(out / "adapter_model.safetensors")
    saved = load_file(finished_run.adapter / "adapter_model.safetensors")
    assert exported.keys() == saved.keys()
    assert all(torch.equal(exported[name], saved[name]) for name in saved)
