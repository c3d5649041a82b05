"""What lies where in a run folder."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from minorkey.errors import DataError, StorageError
from minorkey.system.sealed import Sealed, read_sealed


def resuming(run: Path) -> str:
    """The command that finishes a run, as messages name it.

    >>> print(resuming(Path("my runs/soma")))
    `minorkey train --resume 'my runs/soma'`
    """
    return f"`minorkey train --resume {quote(str(run))}`"


@dataclass(frozen=True)
class RunFolder:
    """The files of one run below `path`."""

    path: Path
    run: Path | None = None  # folder of the run that this is a round of

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def adapter(self) -> Path:
        """The trained adapter as a stock PEFT folder (adapter methods)."""
        return self.path / "adapter"

    @property
    def backbone(self) -> Path:
        """The trained weights of the backbone (methods without an adapter: `full`, `bias`)."""
        return self.path / "backbone.safetensors"

    @property
    def head(self) -> Path:
        """The weights of the head; its metadata hold the fingerprint of the pretrained backbone."""
        return self.path / "head.safetensors"

    @property
    def cost(self) -> Path:
        """What the training took, and checksums; written last, so that it marks a finished training (`record`)."""
        return self.path / "training.json"

    @property
    def log(self) -> Path:
        """One JSON record per logged step."""
        return self.path / "log.jsonl"

    @property
    def tracked(self) -> Path:
        """What trackers keep in files."""
        return self.path / "tracked"

    @property
    def tracked_as(self) -> Path:
        """What the run is called in them."""
        return self.path / "tracked.json"

    @property
    def checkpoints(self) -> Path:
        """Where training can go on from."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The scores; written last of all, so that it marks a finished run."""
        return self.path / "metrics.json"

    @property
    def diverged(self) -> Path:
        """Why it has no scores and will have none, of a run that chooses a rate."""
        return self.path / "diverged.txt"

    @property
    def samples(self) -> Path:
        """Images with truth and prediction, for the report."""
        return self.path / "figures" / "samples"

    @property
    def places(self) -> Path:
        """Which of the evaluated images those are, and checksums of the pictures."""
        return self.path / "figures" / "samples.json"

    @property
    def pseudo_label_pictures(self) -> Path:
        """What teacher and student predicted for a few target images, at some steps."""
        return self.path / "figures" / "pseudo_labels"

    @property
    def pictured(self) -> Path:
        """Checksums of these pictures."""
        return self.path / "figures" / "pseudo_labels.json"

    @property
    def pseudo_labels(self) -> Path:
        """The pseudo-labels that a round of training learns, a folder for each target domain."""
        return self.path / "pseudo_labels"

    def earlier_round(self, number: int) -> "RunFolder":
        """The run folder of a round before the last; 0 is the warm-up."""
        return RunFolder(self.path / "rounds" / str(number), run=self.path)

    @property
    def spectrum(self) -> Path:
        """Tables and pictures of what lies in the weights, and what the training changed."""
        return self.path / "spectrum"

    @property
    def exports(self) -> Path:
        """The run in the formats of other libraries, a folder for each."""
        return self.path / "export"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    @property
    def judged(self) -> tuple[str, ...]:
        """The names in it that judging writes to, but for the evidence, which the metric has a name for."""
        return ("config.yaml", "metrics.json", "figures/samples", "figures/samples.json")

    @property
    def trained(self) -> tuple[str, ...]:
        """The names in it that a training writes to, beside those that judging does."""
        files = (self.adapter, self.backbone, self.head, self.cost, self.log, self.checkpoints)
        folders = (self.pseudo_labels, self.path / "rounds", self.pseudo_label_pictures, self.tracked, self.tracked_as)
        return tuple(path.relative_to(self.path).as_posix() for path in (*files, *folders))

    @property
    def started(self) -> bool:
        """Whether a training has left anything here that another one could overwrite."""
        first_round = self.earlier_round(0).path
        return any(path.exists() for path in (self.log, self.checkpoints, self.cost, first_round))

    @property
    def finished(self) -> bool:
        """Whether a training has ended here and was judged."""
        return self.cost.is_file() and self.metrics.is_file()

    def record(self) -> Sealed:
        """What the training took, with the checksums of what it left.

        Raises:
            StorageError: it is damaged.
        """
        try:
            return read_sealed(self.cost)
        except StorageError as error:
            raise StorageError(
                f"{error}; or remove it and run {resuming(self.path)}, which writes its end again"
            ) from error

    def check_history(self) -> None:
        """Hold what a finished training shows of its course, as far as it is there, against its checksums.

        Raises:
            StorageError: the log, a picture or the record is damaged.
        """
        if not self.cost.is_file():
            return
        record = self.record()
        for path in (self.log, self.pictured):
            name = path.relative_to(self.path).as_posix()
            if path.is_file() and name in (record.files or ()):
                record.check(name)
        if self.pictured.is_file():
            read_sealed(self.pictured).check_present()

    def require_trained(self) -> None:
        """Check that a training has ended here.

        Raises:
            DataError: there is no run, or it has not ended.
        """
        if not self.config.is_file():
            raise DataError(f"no run in '{self.path}' (config.yaml is missing); give the --out folder of a training")
        if not self.cost.is_file():
            raise DataError(f"the training in '{self.path}' has not ended; run {resuming(self.path)} first")
