"""Readers: one for files on disk, whatever their layout, and one table of data sets; `open_datasets` finds them."""

from minorkey.data.readers.corrupted import CorruptedReader
from minorkey.data.readers.joined import Subset, choose
from minorkey.data.readers.open import domain_of, each_domain, open_datasets, stated_pixels, title_of, validation_of
from minorkey.data.readers.options import HeldOut, SourceOptions
from minorkey.data.readers.parts import parted, trained_on
from minorkey.data.readers.pseudo_labelled import PseudoLabelled, label_folders, pseudo_label_file
from minorkey.data.readers.reader import Reader, Role
from minorkey.data.readers.world import WorldOptions

__all__ = [
    "CorruptedReader",
    "HeldOut",
    "PseudoLabelled",
    "Reader",
    "Role",
    "SourceOptions",
    "Subset",
    "WorldOptions",
    "choose",
    "domain_of",
    "each_domain",
    "label_folders",
    "open_datasets",
    "parted",
    "pseudo_label_file",
    "stated_pixels",
    "title_of",
    "trained_on",
    "validation_of",
]
