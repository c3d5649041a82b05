"""Survey a backbone or a finished run: rows, files and pictures."""

from pathlib import Path

from rich.console import Console

from minorkey.config import load_config
from minorkey.errors import ConfigError, ModelError
from minorkey.labels import label_space
from minorkey.models.backbone import load_backbone
from minorkey.models.build import backbone_of
from minorkey.models.options import BackboneOptions
from minorkey.plotting.style import save_figure
from minorkey.runs.assemble import build_network, open_judged
from minorkey.runs.load import config_of, load
from minorkey.spectrum.drift import measure_drift
from minorkey.spectrum.files import check_spectrum, claim_spectrum, write_spectrum
from minorkey.spectrum.plots import FIGURES, spectrum_figures
from minorkey.spectrum.rows import DriftRow, Spectrum
from minorkey.spectrum.survey import Ranks, survey_update, survey_weights
from minorkey.system.console import PlainConsole
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import storage_errors
from minorkey.system.unforeseen import public

DEFAULT_RANK = 16


@public
def survey(
    target: str | Path,
    *,
    rank: int | None = None,
    images: int = 8,
    out: str | Path | None = None,
    console: Console | None = None,
) -> Spectrum:
    """Survey the weights of a backbone; of a finished run also what its training changed.

    Args:
        target: a run folder (it holds a config.yaml), or a backbone: 'builtin', a local folder, a hub id.
        rank: how many of the smallest (and largest) singular components count as minor (major), at most all of a
            weight; None: the rank of the run in each block, 16 for a backbone.
        images: images per domain on which the drift of block outputs is measured; 0: it is not measured.
        out: folder for tables and pictures; None: `spectrum_folder`.
        console: where progress is shown; None: standard error.

    Returns:
        The rows; the same are in `out`, as CSV and JSON, with pictures.

    Raises:
        MinorkeyError: neither a run nor a backbone, a run that has not ended, a rank that does not fit.
    """
    console = console or PlainConsole(stderr=True)
    if images < 0:
        raise ConfigError(f"images is {images}; give a number of images per domain, or 0 to leave the drift out")
    out = Path(out) if out else spectrum_folder(target)
    run = Path(target) if is_run(target) else None
    check_spectrum(out, run)
    folder = RunFolder(Path(target))
    found = _survey_run(folder, rank, images, console) if is_run(target) else _survey_backbone(target, rank, console)
    claim_spectrum(out, run)
    write_spectrum(found, out)
    _save_figures(found, out)
    return found


def is_run(target: str | Path) -> bool:
    """Whether this is a run folder rather than a backbone."""
    return RunFolder(Path(target)).config.is_file()


def spectrum_folder(target: str | Path) -> Path:
    """Where a survey goes by default: `spectrum` in the run folder, or `spectrum-<backbone>` in the working folder."""
    return RunFolder(Path(target)).spectrum if is_run(target) else Path(f"spectrum-{Path(target).absolute().name}")


def _save_figures(spectrum: Spectrum, folder: Path) -> None:
    """Write the pictures; those of an earlier survey that this one does not have are removed."""
    drawn = spectrum_figures(spectrum)
    with storage_errors(folder):
        for name in FIGURES:
            if name in drawn:
                save_figure(drawn[name], folder / name)
            else:
                for suffix in (".svg", ".png"):
                    (folder / name).with_suffix(suffix).unlink(missing_ok=True)


def _survey_backbone(name: str | Path, rank: int | None, console: Console) -> Spectrum:
    rank = DEFAULT_RANK if rank is None else rank
    try:
        network = load_backbone(BackboneOptions(name=str(name))).network
    except ModelError as error:
        raise ModelError(f"'{name}' is no run folder (it holds no config.yaml), and as a backbone: {error}") from error
    return Spectrum(str(name), rank, survey_weights(network, rank, console=console))


def _survey_run(folder: RunFolder, rank: int | None, images: int, console: Console) -> Spectrum:
    folder.require_trained()
    config = config_of(folder.path)
    ranks: Ranks = config.method.rank_in if rank is None else rank
    rank, layers = config.method.rank if rank is None else rank, config.method.layers
    before = build_network(config, label_space(config.label_space))
    weights = survey_weights(before.backbone, ranks, layers=layers, console=console)
    predictor = load(folder.path)
    trained = backbone_of(predictor.model)
    update = survey_update(before.backbone, trained, ranks, layers=layers, console=console)
    drift: list[DriftRow] = []
    if images:
        judging = load_config(folder.config, {"evaluation": {"images": images}})
        domains = open_judged(judging, predictor.space, console)
        drift = measure_drift(before.model, predictor, domains, layers=layers, console=console)
    return Spectrum(str(folder.path), rank, weights, update, drift)
