"""Batches of what a training learns from, those that a process takes, and the images that it is watched on."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import torch

from minorkey.config import RunConfig
from minorkey.data.loaders import TrainingLoader, training_loader
from minorkey.data.pairs import TARGET_SEED, PairLoader
from minorkey.data.readers import PseudoLabelled, Reader, label_folders
from minorkey.data.readers.pseudo_labelled import sealed_labels
from minorkey.data.records import evenly_spread
from minorkey.data.sample import Sample
from minorkey.data.transforms import TransformConfig
from minorkey.data.workers import worker_count
from minorkey.errors import DataError
from minorkey.models.backbone import Backbone
from minorkey.runs.assemble import Sources
from minorkey.runs.material import Material
from minorkey.system.processes import process_count, process_index
from minorkey.tasks.table import task_named

PICTURED = 4
"""Target images whose pseudo-labels are pictured while the training goes on."""


def open_batches(
    config: RunConfig, material: Material, backbone: Backbone, *, done: int, device: torch.device
) -> TrainingLoader | PairLoader:
    """This process's part of the batches, from the step on that follows those that are done."""
    options = config.training
    first, last = done * options.accumulate, options.steps * options.accumulate
    workers = worker_count(options.workers, device, last - first, loaders=1 if material.targets is None else 2)

    def part(data: Sources, transform: TransformConfig, seed: int, **settings: Any) -> TrainingLoader:
        return training_loader(
            task_named(config.task),
            data.readers,
            transform,
            batch_size=options.batch_size,
            steps_from=first,
            steps_to=last,
            seed=seed,
            mean=backbone.mean,
            std=backbone.std,
            weights=data.weights,
            accumulate=options.accumulate,
            workers=workers,
            process_index=process_index(),
            process_count=process_count(),
            **settings,
        )

    sources = part(material.sources, config.transform, config.seed, rare=material.rare)
    if material.targets is None:
        return sources
    transform = config.target_transform or config.transform
    targets = part(
        _labelled(material, material.targets), transform, config.seed + TARGET_SEED, skip_broken=options.skip_broken
    )
    return PairLoader(sources, targets)


def _labelled(material: Material, targets: Sources) -> Sources:
    """The targets, with the pseudo-labels of an earlier round where there was one."""
    if material.pseudo_labels is None:
        return targets
    folders, sealed = label_folders(targets.readers, material.pseudo_labels), sealed_labels(material.pseudo_labels)
    labelled: list[Reader] = [
        PseudoLabelled(reader, place, len(material.space), sealed)
        for reader, place in zip(targets.readers, folders, strict=True)
    ]
    return replace(targets, readers=labelled)


def pictured(readers: Sequence[Reader], *, skip_broken: bool) -> list[Sample]:
    """A few target images, evenly spread over those of every target, under the name of its folder of labels."""
    samples = []
    for reader, place in zip(readers, label_folders(readers, Path()), strict=True):
        for index in evenly_spread(len(reader), ceil(PICTURED / len(readers))):
            try:
                samples.append(replace(reader[index], domain=place.name))
            except DataError:
                if not skip_broken:  # the training will report it, should it come to this image
                    raise
    return samples
