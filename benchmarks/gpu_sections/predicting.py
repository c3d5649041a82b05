"""Judging and predicting images of 2048x1024 with the recipe's network, in windows of 512, in each precision."""

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from gpu_sections.bench import MB, Bench, repeated
from gpu_sections.recipe import configuration, pretrained, street
from gpu_sections.report import MEMORY, Figures
from minorkey.data.images import read_image
from minorkey.evaluation.run import EvaluationDomain, evaluate_domains
from minorkey.labels import label_space
from minorkey.runs.assemble import open_sources
from minorkey.runs.load import predictor_for
from minorkey.tasks.predictor import Predictor

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


def cases(bench: Bench) -> Iterator[tuple]:
    """A case for each precision, then files."""
    for precision in PRECISIONS:
        yield f"one image, {precision}", partial(one_image, bench, precision)
    if bench.on_gpu:
        yield "one image, fp32, in 16 GB", partial(one_image_in, bench, 16 * 2**30)
        yield "one image, fp32, by layer", partial(hungriest, bench)
    yield "judging files", partial(judging, bench)
    yield "predicting files", partial(mapping, bench)


def one_image(bench: Bench, precision: str) -> Figures:
    """Of an image in memory: all of it, the network alone, and how many pixels get the label that fp32 gives."""
    image = first_image(bench)
    reference = labels_in_fp32(bench, image)
    predictor = predictor_of(bench, precision)
    labels = predictor.predict_one(image).labels
    network = repeated(bench, lambda: predictor.output(image))
    whole = repeated(bench, lambda: predictor.predict_one(image))
    return {
        "image, ms": 1e3 * whole,
        "network, ms": 1e3 * network,
        MEMORY: bench.peak_mb(),
        "labels as in fp32": float((labels == reference).mean()),
    }


def one_image_in(bench: Bench, size: int) -> Figures:
    """In fp32 with so many bytes of memory: cuDNN's fastest convolutions take workspaces as large as there is room."""
    torch.cuda.set_per_process_memory_fraction(size / torch.cuda.get_device_properties(bench.device).total_memory)
    try:
        return one_image(bench, "fp32")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def hungriest(bench: Bench) -> Figures:
    """The layer whose forward pass takes the most memory for a while, beside what was there before it."""
    predictor, image = predictor_of(bench, "fp32"), first_image(bench)
    taken: dict[str, float] = {}

    def before(*_: object) -> None:
        torch.cuda.reset_peak_memory_stats()

    def after(name: str, *_: object) -> None:
        here = torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()
        taken[name] = max(taken.get(name, 0.0), here)

    for name, module in predictor.model.named_modules():
        if not [*module.children()]:
            module.register_forward_pre_hook(before)
            module.register_forward_hook(partial(after, name))
    predictor.predict_one(image)
    layer = max(taken, key=lambda name: taken[name])
    return {"layer": f"{layer}: {predictor.model.get_submodule(layer)}", "takes, MB": taken[layer] / MB}


def judging(bench: Bench) -> Figures:
    """Images per second from PNG files to confusion matrices."""
    predictor, config = predictor_of(bench, "auto"), configuration(bench, "frozen", {})
    (reader,) = open_sources(config, predictor.space).readers
    domain = EvaluationDomain("unseen", reader, len(reader))

    def once() -> None:
        evaluate_domains(predictor, [domain], pictures=0, folder=bench.folder, console=Console(quiet=True))

    return {"images/s": len(reader) / repeated(bench, once)}


def mapping(bench: Bench) -> Figures:
    """Images per second from PNG files to labels in memory, many after each other."""
    predictor = predictor_of(bench, "auto")
    files = sorted(Path(street(bench)).glob("images/train/*.png")) * (1 if bench.small else 4)

    def once() -> None:
        for _ in predictor.map(files):
            bench.check()

    return {"images/s": len(files) / repeated(bench, once)}


def predictor_of(bench: Bench, precision: str) -> Predictor:
    """A copy of the recipe's network under its protocol, on the device."""
    network = deepcopy(pretrained(bench.small, bench.device))
    network.model.requires_grad_(False).eval().to(bench.device)
    toy = {"window": [64, 64], "stride": [64, 64], "resize": 256} if bench.small else {}
    config = configuration(bench, "frozen", {"evaluation": {**toy, "precision": precision}})
    return predictor_for(config, network, label_space("cityscapes19"))


def first_image(bench: Bench) -> np.ndarray:
    """`(1024, 2048, 3)` uint8, a corner of it where all is small."""
    image = read_image(next(Path(street(bench)).glob("images/train/*.png")))
    return image[:128, :256].copy() if bench.small else image


def labels_in_fp32(bench: Bench, image: np.ndarray) -> np.ndarray:
    """Computed once."""
    file = bench.folder / "labels.npy"
    if not file.is_file():
        np.save(file, predictor_of(bench, "fp32").predict_one(image).labels)
    return np.load(file)
