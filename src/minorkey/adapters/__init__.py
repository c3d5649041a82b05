"""Low-rank adaptation of pretrained weights: which layers, which start, how it is saved and folded in."""

from minorkey.adapters.attach import attach
from minorkey.adapters.attached import Attached
from minorkey.adapters.convert import load_adapter, save_adapter
from minorkey.adapters.fingerprint import weights_sha256
from minorkey.adapters.fold import fold
from minorkey.adapters.options import MethodOptions, SoMA
from minorkey.adapters.specs import METHODS, MethodSpec, method_spec

__all__ = [
    "METHODS",
    "Attached",
    "MethodOptions",
    "MethodSpec",
    "SoMA",
    "attach",
    "fold",
    "load_adapter",
    "method_spec",
    "save_adapter",
    "weights_sha256",
]
