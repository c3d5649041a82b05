"""The sections of benchmarks/on_gpu.py, most important first.

A section is a module with `cases(bench)`, which yields `(name, measure)`: a call that gives the figures of one case as
a mapping, keyed by what they are called in a table. This file imports nothing, for the process that watches over the
measuring one to hold no library.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """One of the sections, and how long it may take."""

    name: str
    title: str
    seconds: float  # at most, of all its cases together; what it leaves is for those after it
    case_seconds: float = 60.0  # at most, of a single case


SECTIONS = (
    Section("ceilings", "What the card can do", 20),
    Section("correctness", "The same results", 60),
    Section("recipe", "A training step of `gta_to_cbm`", 180),
    Section("adaptation", "A step with a target, with and without a momentum network", 110),
    Section("detectors", "A training step of detectors at 1024", 100),
    Section("predicting", "Judging and predicting images of 2048x1024", 60),
    Section("loading", "Loading images beside the step", 60),
    Section("memory", "Gradient checkpointing", 40),
    Section("compiling", "torch.compile", 120, case_seconds=120),
)


def section_of(name: str) -> Section:
    """The section of this name; any other is a module of the caller's own."""
    return next((section for section in SECTIONS if section.name == name), Section(name, name, 60))
