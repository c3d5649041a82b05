"""`minorkey list`."""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated

import typer

Rows = Iterator[tuple[str, str]]


SHOWN = 19
"""Classes of a label space that are listed."""


class Kind(StrEnum):
    """What there is several of, as the command line calls it."""

    PRESETS = "presets"
    TASKS = "tasks"
    METHODS = "methods"
    HEADS = "heads"
    BACKBONES = "backbones"
    DATASETS = "datasets"
    LABEL_SPACES = "label-spaces"
    CORRUPTIONS = "corruptions"
    REGIMES = "regimes"
    TEACHERS = "teachers"


def list_parts(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """Say what there is to choose from, by the names that presets, options and KEY=VALUE take.

    * `minorkey list methods`

    * `minorkey list heads`
    """
    from rich.table import Table

    from minorkey.system.console import PlainConsole

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, what in _LISTS[kind]():
        table.add_row(name, what)
    PlainConsole(markup=False, highlight=False).print(table)


def _presets() -> Rows:
    from minorkey.cli.settings import about_preset
    from minorkey.config import presets

    for name in presets():
        yield name, about_preset(name)


def _tasks() -> Rows:
    from minorkey.tasks.table import TASKS

    yield from _by_docstring(TASKS.shipped, TASKS.resolve)


def _methods() -> Rows:
    from minorkey.adapters.specs import METHODS

    for name, method in METHODS.items():
        yield name, method.description


def _heads() -> Rows:
    from minorkey.tasks.table import TASKS, task_named

    for task in TASKS.shipped:
        default = task_named(task).default_head
        for name in task_named(task).heads.shipped:
            yield name, task + (", if none is named" if name == default else "")


def _backbones() -> Rows:
    from minorkey.models.catalog import catalog

    yield "builtin", "2.7 million parameters; drawn street scenes; ships with minorkey"
    for name, row in catalog().items():
        terms = f"{row.licence}{', gated' * row.gated}{', needs minorkey[timm]' * row.needs_timm}"
        yield name, f"{row.parameters:.1f} million parameters; {row.data}; {terms}"
    yield (
        "...",
        "any local folder or hub id of a transformers backbone, timm:NAME, or your own as package.module:attribute",
    )


def _datasets() -> Rows:
    from minorkey.data.readers.spec import named_datasets
    from minorkey.world import DOMAINS

    for name, domain in DOMAINS.items():
        yield f"world:{name}", domain.description
    for name, forms in named_datasets().items():
        splits = sorted({split for form in forms for split in form.splits})
        yield name, f"in DATA_ROOT/{forms[0].folder or name}" + (f"; :{', :'.join(splits)}" if splits else "")


def _label_spaces() -> Rows:
    from minorkey.labels.space import label_space, label_spaces

    for name in label_spaces():
        classes = label_space(name).classes
        more = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
        yield name, ", ".join(classes[:SHOWN]) + more


def _corruptions() -> Rows:
    from minorkey.data.corruptions.spec import CORRUPTIONS

    for name, corruption in CORRUPTIONS.items():
        yield name, f"{corruption.effect} ({corruption.group}; {corruption.source})"


def _regimes() -> Rows:
    from minorkey.regimes.table import REGIMES

    yield from _by_docstring(REGIMES.shipped, REGIMES.resolve)


def _teachers() -> Rows:
    from minorkey.regimes.teachers import TEACHERS

    yield from _by_docstring(TEACHERS.shipped, TEACHERS.resolve)


def _by_docstring(shipped: Mapping[str, object], resolve: Callable[[str], type]) -> Rows:
    for name in shipped:
        yield name, (resolve(name).__doc__ or "").partition("\n")[0].removesuffix(".")


_LISTS: Mapping[Kind, Callable[[], Rows]] = {
    Kind.PRESETS: _presets,
    Kind.TASKS: _tasks,
    Kind.METHODS: _methods,
    Kind.HEADS: _heads,
    Kind.BACKBONES: _backbones,
    Kind.DATASETS: _datasets,
    Kind.LABEL_SPACES: _label_spaces,
    Kind.CORRUPTIONS: _corruptions,
    Kind.REGIMES: _regimes,
    Kind.TEACHERS: _teachers,
}
