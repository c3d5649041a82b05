"""The classes that class folders name, where a run does not name its classes itself."""

from collections.abc import Iterable
from pathlib import Path

from minorkey.data.corruptions.naming import split_corruption
from minorkey.data.readers import open_datasets
from minorkey.data.readers.categories import Categorised, class_names
from minorkey.data.readers.locate import split_name
from minorkey.data.readers.own import split_own
from minorkey.errors import ConfigError, DataError

FROM_FOLDERS = "folders"
"""The label space of the classes that the data sets themselves name."""


def listed_classes(specs: Iterable[str], *, annotation: str, data_root: Path | None) -> str:
    """The classes of all data sets as a label space that stands for itself: `cat, dog`.

    Args:
        specs: data sets as `open_datasets` takes them; all of their images are looked for, whatever the split.
        annotation: what its task learns of images.
        data_root: where known data sets lie.

    Raises:
        ConfigError: a data set does not name its classes.
        DataError: their classes differ, there is one class only, one has a comma in its name, or a data set cannot be
            opened.
    """
    bare = dict.fromkeys(_of_all_splits(split_corruption(spec)[0]) for spec in specs)
    readers: list[Categorised] = []
    for reader in (
        one
        for spec in bare
        for one in open_datasets(spec, role="source", label_space=None, data_root=data_root, annotation=annotation)
    ):
        if isinstance(reader, Categorised):
            readers.append(reader)
        else:
            raise ConfigError(
                f"data set '{reader.name}' names no classes by itself; name them, e.g. label_space='cat, dog'"
            )
    names = class_names(readers)
    if len(names) < 2:
        raise DataError(
            f"domain '{readers[0].domain}' shows one class only, '{names[0] if names else ''}'; a classifier needs two "
            "or more, e.g. <domain>/<class>/ with images"
        )
    if strange := [name for name in names if "," in name]:
        raise DataError(
            f"class '{strange[0]}' has a comma in its name, which parts classes in a list; rename its folder, or the "
            "class by `read_as` in dataset.yaml"
        )
    return ", ".join(names)


def _of_all_splits(spec: str) -> str:
    """A data set on disk without the splits that are asked for: classes are those of its domains."""
    return spec if spec.startswith("hf:") or split_own(spec) else split_name(spec)[0]
