"""The Cityscapes train ids that the world draws, and the materials its surfaces are made of."""

from enum import IntEnum

DETECTION_CLASSES = ("bus", "bike", "car", "motor", "person", "rider", "truck")
"""Names of the classes that get a box; `Sample.box_classes` indexes this tuple."""


class Train(IntEnum):
    """Cityscapes train ids."""

    ROAD = 0
    SIDEWALK = 1
    BUILDING = 2
    WALL = 3
    FENCE = 4
    POLE = 5
    LIGHT = 6
    SIGN = 7
    VEGETATION = 8
    TERRAIN = 9
    SKY = 10
    PERSON = 11
    RIDER = 12
    CAR = 13
    TRUCK = 14
    BUS = 15
    MOTORCYCLE = 17
    BICYCLE = 18


BOX_CLASS = {
    Train.BUS: 0,
    Train.BICYCLE: 1,
    Train.CAR: 2,
    Train.MOTORCYCLE: 3,
    Train.PERSON: 4,
    Train.RIDER: 5,
    Train.TRUCK: 6,
}
"""Train id -> index into `DETECTION_CLASSES`."""


class Material(IntEnum):
    """What a surface is made of; selects its texture."""

    PLAIN = 0
    ASPHALT = 1
    PAVING = 2
    GRASS = 3
    PLASTER = 4
    BRICK = 5
    CURTAIN = 6
    STONE = 7
    FENCE = 8
    FOLIAGE = 9
    ROOF = 10
    PAINT = 11
    GLASS = 12
    CLOTH = 13
    SIGN = 14
    BUSSIDE = 15
