"""Carries out trials in one process or several, and writes down what each found."""

import json
import multiprocessing
import os
import sys
from pathlib import Path

from fault_trials.material import Material
from fault_trials.results import Row, do_trial


def carry_out(todo: list[tuple[Row, int]], file: Path, material_folder: Path, processes: int = 1) -> None:
    """Do the trials and append their results to a file, a line of JSON each."""
    file.parent.mkdir(parents=True, exist_ok=True)
    import_everything()
    material = Material(material_folder)
    if processes == 1:
        _work(todo, file, material)
        return
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work, args=(todo[part::processes], file, material)) for part in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _work(todo: list[tuple[Row, int]], file: Path, material: Material) -> None:
    for row, index in todo:
        result = do_trial(row, index, material)
        line = (json.dumps(result) + "\n").encode()
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(opened, line)  # in one piece: lines of several processes do not mix
        os.close(opened)
        if result["why"]:
            print(f"{row.name} {index}: {result['what']}: {result['why']}: {result['detail']}", file=sys.stderr)


def import_everything() -> None:
    """Import what commands need and read what they read at first use, so that a forked process has it."""
    import torch

    torch.set_num_threads(1)
    "".encode("unicode_escape")  # a codec is a module too, which a process without rights could not read
    import matplotlib.pyplot
    import peft
    import transformers.models.dinov2.modeling_dinov2

    import minorkey.cli
    from minorkey.data import loaders
    from minorkey.datacheck import page
    from minorkey.export import run
    from minorkey.labels.space import label_spaces
    from minorkey.models.backbone import load_backbone
    from minorkey.models.options import BackboneOptions
    from minorkey.reporting import page as report_page
    from minorkey.runs import api, predict, train
    from minorkey.spectrum import run as spectrum_run

    assert all(
        (matplotlib, peft, transformers, minorkey, loaders, page, run, report_page, api, predict, train, spectrum_run)
    )
    label_spaces()
    load_backbone(BackboneOptions(name="builtin"))
