"""What a folder of data would need to be read as a data set: a module for each kind of annotation."""

from minorkey.datacheck.guess.guess import Guess
from minorkey.datacheck.guess.write import init_dataset

__all__ = ["Guess", "init_dataset"]
