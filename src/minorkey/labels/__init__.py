"""Label spaces and id maps: class names, colours and ids are tables, mapped while loading."""

from minorkey.labels.legend import Legend, legend
from minorkey.labels.maps import apply_id_map, ids_from_colours
from minorkey.labels.space import IGNORE_INDEX, LabelSpace, colourise, label_space, plain_name

__all__ = [
    "IGNORE_INDEX",
    "LabelSpace",
    "Legend",
    "apply_id_map",
    "colourise",
    "ids_from_colours",
    "label_space",
    "legend",
    "plain_name",
]
