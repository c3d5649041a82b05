"""minorkey adapts pretrained vision models so that they work where their training data does not reach.

>>> import minorkey
>>> scores = minorkey.train("demo", method="soma", out="runs/soma")  # doctest: +SKIP
>>> minorkey.load("runs/soma").predict("image.jpg").draw()  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minorkey.adapters import MethodOptions, SoMA, attach, fold
    from minorkey.config import RunConfig, presets, resolve
    from minorkey.errors import MinorkeyError
    from minorkey.evaluation.scores import ScoreTable
    from minorkey.export.deploy_options import DeployOptions
    from minorkey.export.run import export_run
    from minorkey.models.backbone import builtin_backbone
    from minorkey.reporting.demo import demo
    from minorkey.reporting.page import report
    from minorkey.runs.api import evaluate, train
    from minorkey.runs.batches import BatchPredictor
    from minorkey.runs.load import load
    from minorkey.spectrum.run import survey
    from minorkey.system.outside import outside_allowed
    from minorkey.tasks.predictor import Predictor
    from minorkey.training.annealing import AnnealingCallback, AnnealingWeightDecay
    from minorkey.training.optim import param_groups

__version__ = "0.1.0"

_HOMES = {
    "MethodOptions": "minorkey.adapters",
    "SoMA": "minorkey.adapters",
    "attach": "minorkey.adapters",
    "fold": "minorkey.adapters",
    "demo": "minorkey.reporting.demo",
    "evaluate": "minorkey.runs.api",
    "report": "minorkey.reporting.page",
    "train": "minorkey.runs.api",
    "BatchPredictor": "minorkey.runs.batches",
    "RunConfig": "minorkey.config",
    "presets": "minorkey.config",
    "resolve": "minorkey.config",
    "MinorkeyError": "minorkey.errors",
    "ScoreTable": "minorkey.evaluation.scores",
    "DeployOptions": "minorkey.export.deploy_options",
    "export_run": "minorkey.export.run",
    "builtin_backbone": "minorkey.models.backbone",
    "Predictor": "minorkey.tasks.predictor",
    "survey": "minorkey.spectrum.run",
    "outside_allowed": "minorkey.system.outside",
    "AnnealingCallback": "minorkey.training.annealing",
    "AnnealingWeightDecay": "minorkey.training.annealing",
    "param_groups": "minorkey.training.optim",
    "load": "minorkey.runs.load",
}

__all__ = [
    "AnnealingCallback",
    "AnnealingWeightDecay",
    "BatchPredictor",
    "DeployOptions",
    "MethodOptions",
    "MinorkeyError",
    "Predictor",
    "RunConfig",
    "ScoreTable",
    "SoMA",
    "attach",
    "builtin_backbone",
    "demo",
    "evaluate",
    "export_run",
    "fold",
    "load",
    "outside_allowed",
    "param_groups",
    "presets",
    "report",
    "resolve",
    "survey",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import the public names when they are first asked for: `import minorkey` itself costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'minorkey' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
