"""The built-in world: procedural street scenes with labels, depth and boxes, in paired domains."""

from minorkey.world.classes import DETECTION_CLASSES
from minorkey.world.domains import DOMAINS, Domain
from minorkey.world.render import render, render_paired

__all__ = ["DETECTION_CLASSES", "DOMAINS", "Domain", "render", "render_paired"]
