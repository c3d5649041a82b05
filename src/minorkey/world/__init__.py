"""The built-in world: procedural street scenes with labels, depth and boxes, in paired domains."""

from minorkey.world.classes import DETECTION_CLASSES
from minorkey.world.domains import DOMAINS, Domain
from minorkey.world.render import render, render_paired, render_with_surfaces
from minorkey.world.surfaces import SurfaceMaps

__all__ = ["DETECTION_CLASSES", "DOMAINS", "Domain", "SurfaceMaps", "render", "render_paired", "render_with_surfaces"]
