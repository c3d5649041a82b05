"""Images with one class each: class folders or a table, the published sets by name."""

from minorkey.data.readers.categories.bare import bare_spec, class_names, with_columns
from minorkey.data.readers.categories.reader import CategoryReader
from minorkey.data.readers.categories.spec import CategorySpec, named_category_datasets

__all__ = [
    "CategoryReader",
    "CategorySpec",
    "bare_spec",
    "class_names",
    "named_category_datasets",
    "with_columns",
]
