"""A finished training, loaded and checked: what every export starts from."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from transformers import PreTrainedModel

from minorkey.config import RunConfig
from minorkey.evaluation.scores import ScoreTable
from minorkey.predictor import Predictor
from minorkey.run_folder import RunFolder
from minorkey.workflow import config_of, load


@dataclass(frozen=True)
class Trained:
    """A run, its model with the adapter folded in, and where both come from."""

    run: RunFolder
    config: RunConfig
    predictor: Predictor
    backbone: PreTrainedModel  # the transformers backbone inside the predictor's model
    base_sha256: str  # of the pretrained backbone's weights
    scores: ScoreTable | None  # None: not judged yet

    @property
    def base_on_hub(self) -> str | None:
        """Hub id of the pretrained backbone; None for a local folder and for the built-in one."""
        name = self.config.backbone.name
        return name if name != "builtin" and not Path(name).expanduser().is_dir() else None

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
    predictor = load(run.path, device="cpu")
    backbone = predictor.model.backbone.backbone
    with safe_open(run.head, framework="pt") as head:
        base_sha256 = head.metadata()["base_weights_sha256"]
    # Where the weights lay on this machine is nobody else's business; transformers writes it into every config.
    backbone.config._name_or_path = ""
    scores = ScoreTable.read(run.metrics) if run.metrics.is_file() else None
    return Trained(run, config_of(run.path), predictor, backbone, base_sha256, scores)
