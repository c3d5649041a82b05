"""A tiny backbone of random weights, a configuration that trains in a second, and the command line in-process."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported here, and for the processes that tests start
os.environ["HF_HUB_OFFLINE"] = "1"

import gc
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from transformers import Dinov2Backbone, Dinov2Config
from warm_commands import Forked, wait_until_warm, warm_commands

from minorkey.config import RunConfig, resolve, save_config
from minorkey.runs.train import train
from minorkey.system.launch import collect_seldom
from minorkey.system.run_folder import RunFolder

MakeConfig = Callable[..., RunConfig]

torch.set_num_threads(1)
os.fsync = lambda _: None  # tests end processes and no machine, and what the system has, it keeps

TINY_RUN: dict[str, Any] = {
    "source": "world:clear",
    "unseen": "world:night",
    "world": {"size": [64, 32], "train_count": 12, "eval_count": 4},
    "head": {"name": "semfpn", "channels": 8},
    "method": {"name": "soma", "rank": 4},
    "transform": {"crop": [32, 32], "scale_ratios": [1.0, 1.25]},
    "training": {
        "steps": 4, "batch_size": 2, "lr": 1e-3, "backbone_lr": 1e-3, "log_every": 1, "checkpoint_every": 2,
        "device": "cpu",
    },
    "evaluation": {"pictures": 1},
}  # fmt: skip


LONGEST = (
    "test_docs.py",
    "test_deployed_files.py",
    "test_faults.py",
    "test_on_gpu.py",
    "test_two_processes.py",
    "test_grid.py",
    "test_demo.py",
    "test_pixel_runs.py",
    "test_adaptation_resume.py",
)
"""Files that take longest: they begin first, so that none is left over when several processes share the tests."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files; the tests of each stay as they are."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_collection_finish() -> None:
    """Libraries and tests stay for good: looking through them for what to free took a fifth of the tests' time."""
    gc.collect()
    gc.freeze()
    collect_seldom()


WARM = "MINORKEY_WARM_COMMANDS"
"""Where the processes that share the tests find the commands that were started for all of them."""


@contextmanager
def _started() -> Iterator[Path]:
    with TemporaryDirectory() as short, warm_commands(Path(short, "bin")):
        yield Path(short, "bin")


def pytest_configure(config: pytest.Config) -> None:
    """Where several processes share the tests, start the warm commands for all of them."""
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        stack = ExitStack()
        config.add_cleanup(stack.close)
        os.environ[WARM] = str(stack.enter_context(_started()))


@pytest.fixture(scope="session")
def commands() -> Iterator[Path]:
    """The folder of `warm_commands`."""
    with ExitStack() as stack:
        folder = Path(os.environ[WARM]) if WARM in os.environ else stack.enter_context(_started())
        wait_until_warm(folder)
        yield folder


@pytest.fixture
def start(commands: Path) -> Iterator[Callable[..., Forked]]:
    """Start `minorkey` in a process of its own; what is left running is killed at the end."""
    with ExitStack() as started:

        def run(*arguments: object) -> Forked:
            forked = Forked(commands, "minorkey", *arguments)
            started.callback(forked.close)
            return forked

        yield run


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real images and weights, where the checkout has them beside it."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"real images and weights are not at hand ({folder} is missing)")
    return folder


def write_backbone(folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    values = {
        "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "patch_size": 8, "image_size": 64,
    } | changes  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = Dinov2Backbone(Dinov2Config(**values))
        for parameter in backbone.parameters():
            parameter.data.add_(0.05 * torch.randn_like(parameter))
    backbone.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DINOv2 of 4 blocks, width 32, patch 8 and image size 64; every weight is random."""
    return write_backbone(tmp_path_factory.mktemp("backbone") / "tiny")


@pytest.fixture
def make_backbone(tmp_path: Path) -> Callable[..., Path]:
    """Write another backbone: `make_backbone("name", num_hidden_layers=12)`."""
    return lambda name, **changes: write_backbone(tmp_path / name, **changes)


@pytest.fixture(scope="session")
def make_config(backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeConfig:
    """The tiny run with changes: `make_config(method="lora", training={"steps": 2})`."""
    base = tmp_path_factory.mktemp("config") / "base.yaml"
    save_config(resolve(None, {**TINY_RUN, "backbone": str(backbone_folder)}), base)
    return lambda **changes: resolve(base, changes)


@pytest.fixture
def console() -> Console:
    """Swallows the progress; `console.file.getvalue()` has it."""
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(scope="session")
def finished_run(make_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished SoMA run; read only."""
    folder = tmp_path_factory.mktemp("finished") / "soma"
    train(make_config(), folder, console=Console(file=io.StringIO()))
    return RunFolder(folder)


@pytest.fixture
def street_folder(tmp_path: Path) -> Callable[..., Path]:
    """A data set in the folder layout, splits train and val: noise with ids 0 road, 1 car, no ignored pixels."""

    def write(name: str = "streets", images: int = 4, size: tuple[int, int] = (32, 48)) -> Path:
        rng = np.random.default_rng(0)
        root = tmp_path / name
        for split in ("train", "val"):
            for kind in ("images", "labels"):
                (root / kind / split).mkdir(parents=True)
            for index in range(images):
                image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
                Image.fromarray(image).save(root / "images" / split / f"{index}.png")
                labels = rng.integers(0, 2, size, dtype=np.uint8)
                Image.fromarray(labels).save(root / "labels" / split / f"{index}.png")
        (root / "dataset.yaml").write_text("ids: {0: road, 1: car, 255: ignore}\n")
        return root

    return write


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run the command line in this process: `command("train", file)` is (exit code, standard error)."""
    from minorkey.cli import main

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["minorkey", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, capsys.readouterr().err

    return run
