"""A finished training, loaded and checked: what every export starts from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minorkey.config import RunConfig
from minorkey.evaluation.scores import ScoreTable
from minorkey.export.base import PretrainedBase, base_of
from minorkey.models.build import Head, backbone_of
from minorkey.models.catalog import catalog
from minorkey.runs.deployed_info import DeployedInfo, info_of
from minorkey.runs.load import config_of, load
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import read_metadata
from minorkey.tasks.base import Task
from minorkey.tasks.deployed import Deployed, Size
from minorkey.tasks.predictor import Predictor


@dataclass(frozen=True)
class Trained:
    """A run, its model with the adapter folded in, and where both come from."""

    run: RunFolder
    config: RunConfig
    predictor: Predictor
    backbone: Any  # the pretrained part of the predictor's model
    other_base: PretrainedBase | None  # the untouched one, where it has other names than `backbone`
    base_sha256: str  # of the pretrained backbone's weights
    scores: ScoreTable | None  # None: not judged yet

    @property
    def task(self) -> Task:
        """The task of the run."""
        return self.predictor.task

    @property
    def head(self) -> Head:
        """The row of the run's head."""
        return self.task.heads.resolve(self.config.head.name)

    @property
    def base_network(self) -> Any:
        """A network of the class that the pretrained backbone has in its own library."""
        return self.other_base.network if self.other_base else self.backbone

    @property
    def base_on_hub(self) -> str | None:
        """Hub id of the pretrained backbone; None for a local folder and for the built-in one."""
        name = self.config.backbone.name
        if name in catalog():
            return catalog()[name].hub
        return name if name != "builtin" and not Path(name).expanduser().is_dir() else None

    def info(self, deployed: Deployed, size: Size | None, **written: Any) -> DeployedInfo:
        """What is to be known of the model in a file, written for images of a size, or of any; see `info_of`."""
        return info_of(
            self.predictor,
            self.config,
            deployed,
            run=self.run.path.resolve().name,
            base=self.base,
            base_sha256=self.base_sha256,
            size=size,
            **written,
        )

    @property
    def base(self) -> str:
        """The pretrained backbone in a word that tells nothing of this machine's folders."""
        name = self.config.backbone.name
        return "minorkey/models/builtin" if name == "builtin" else self.base_on_hub or Path(name).name


def open_trained(run: RunFolder) -> Trained:
    """Load a finished training on the CPU.

    Raises:
        DataError: there is no finished training.
        AdapterError: the pretrained weights are not those that it started from.
    """
    predictor, config = load(run.path, device="cpu"), config_of(run.path)
    backbone: Any = backbone_of(predictor.model)
    base_sha256 = read_metadata(run.head)["base_weights_sha256"]
    # Where the weights lay on this machine is nobody else's business; transformers writes it into every config.
    backbone.config._name_or_path = ""
    base = base_of(predictor.task.heads.resolve(config.head.name), backbone, config.backbone)
    scores = ScoreTable.read(run.metrics) if run.metrics.is_file() else None
    return Trained(run, config, predictor, backbone, base, base_sha256, scores)
