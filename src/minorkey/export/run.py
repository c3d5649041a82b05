"""Export a run: check what was asked, write the folder whole or not at all, upload it where asked."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minorkey.config import RunConfig
from minorkey.errors import ConfigError, StorageError, unknown
from minorkey.export.adapter import write_adapter
from minorkey.export.card import Card, card_text
from minorkey.export.deploy_options import DeployOptions
from minorkey.export.hub import check_repo_id, push
from minorkey.export.merged import write_model
from minorkey.export.onnx_file import write_onnx
from minorkey.export.openvino_file import write_openvino
from minorkey.export.program import write_program
from minorkey.export.trained import Trained, open_trained
from minorkey.runs.load import config_of
from minorkey.system.lock import locked
from minorkey.system.ours import refuse_links
from minorkey.system.outside import OUTSIDE
from minorkey.system.reading import json_of, reading
from minorkey.system.regular import regular_bytes
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import new_folder, usual_mode, write_json, write_text
from minorkey.system.unforeseen import public

MARK = "minorkey_export.json"  # lists what an export wrote, so that it can be replaced and nothing else

KINDS: dict[str, Callable[[Trained, Path], Card]] = {"adapter": write_adapter, "model": write_model}


DEPLOYED: dict[str, Callable[[Trained, Path, DeployOptions], Card]] = {
    "onnx": write_onnx,
    "torch": write_program,
    "openvino": write_openvino,
}
"""One file each, by `DeployOptions`."""


@dataclass(frozen=True)
class ExportedFolder:
    """What was written, and the Python lines that load it, with nothing of minorkey installed."""

    folder: Path
    code: str
    told: tuple[str, ...] = ()  # what is to be said of it, as how far it is from the run


@public
def export_run(
    run: str | Path,
    to: str = "adapter",
    *,
    out: str | Path | None = None,
    push_to: str | None = None,
    deploy: DeployOptions | None = None,
) -> ExportedFolder:
    """Write a finished run in the format of other libraries.

    Args:
        run: run folder.
        to: 'adapter', a stock PEFT folder for the untouched pretrained backbone; or 'model', a transformers
            folder with everything folded in, and the backbone alone in its `backbone/` (not of an EoMT, which has it
            inside; of a timm backbone in timm's format); or one file for deployment, 'onnx', 'torch' or 'openvino'.
        out: folder to write; None: `export/<to>` in the run folder. An earlier export
            there is replaced once the new one is complete.
        push_to: also upload it to this repository of the hub, user/name; nothing is uploaded otherwise.
        deploy: how a file for deployment is written; None: as `DeployOptions()` says.

    Raises:
        ConfigError: `to`, `push_to` or `deploy` is not valid, a package is missing, ONNX cannot hold the network, `out`
            holds something else, or a part is not of this package.
        ModelError: a file for deployment does not compute what the run does.
        DataError: there is no finished training in `run`.
        AdapterError: the method has no adapter, or the pretrained weights have changed since.
        StorageError: the folder cannot be written, or not uploaded; what was written is then kept.
    """
    write = writer(to, deploy or DeployOptions())
    if push_to is not None:
        check_repo_id(push_to)
    source = RunFolder(Path(run))
    source.require_trained()
    target = Path(out) if out is not None else source.exports / to
    if out is None:
        refuse_links(source.path, [source.exports.name])
    check_replaceable(target)
    if to in KINDS:
        check_parts(config_of(source.path), to)
    trained = open_trained(source)
    with locked(target.parent), new_folder(target) as new:
        card = write(trained, new)
        write_text(new / "README.md", card_text(card, trained))
        _mark(new, to, trained.base_sha256)
    if push_to is not None:
        push(target, push_to)
    return ExportedFolder(target, f'folder = "{push_to or target}"\n\n{card.code}', tuple(card.told))


def writer(to: str, options: DeployOptions) -> Callable[[Trained, Path], Card]:
    """What writes an export.

    Raises:
        ConfigError: there is none of this name, or it does not go with the options.
    """
    options.check()
    if to in DEPLOYED:
        write = DEPLOYED[to]
        return lambda trained, folder: write(trained, folder, options)
    if to not in KINDS:
        raise ConfigError(unknown("export", to, [*KINDS, *DEPLOYED]))
    if used := options.used():
        raise ConfigError(f"{used[0]} is for a file to deploy; give --to onnx, or leave it out")
    return KINDS[to]


def check_parts(config: RunConfig, to: str) -> None:
    """Raise `ConfigError` where another library would need code that is neither its own nor of this package."""
    needed = {"backbone": config.backbone.name}
    if to == "model":
        needed |= {"head": config.head.name, "task": config.task}
    for kind, name in needed.items():
        if OUTSIDE.fullmatch(name):
            raise ConfigError(f"{kind} '{name}' is code that no other library has; load the run with minorkey.load")


def check_replaceable(folder: Path) -> None:
    """Raise `ConfigError` unless `folder` is absent, empty, or holds an earlier export and nothing else."""
    if folder.name in ("", ".."):
        raise ConfigError(f"'{folder}' cannot be replaced by an export; give --out a name, such as {folder / 'model'}")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"'{folder}' is a file; choose another --out")
    found = set(_files(folder))
    foreign = sorted(found - set(_listed(folder)))
    if foreign:
        raise ConfigError(
            f"'{folder}' holds '{foreign[0]}', which no export wrote; choose another --out or empty the folder"
        )


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def _listed(folder: Path) -> list[str]:
    """The files of an earlier export; none where there was no export."""
    if not (folder / MARK).is_file():
        return []
    with reading(f"'{folder / MARK}'", "choose another --out", StorageError):
        return [MARK, *map(str, json_of(regular_bytes(folder / MARK))["files"])]


def _mark(folder: Path, to: str, base_sha256: str) -> None:
    from minorkey import __version__

    for path in folder.rglob("*"):
        if path.is_file():
            usual_mode(path)  # save_pretrained leaves them readable by their owner alone
    mark = {"minorkey": __version__, "to": to, "base_weights_sha256": base_sha256, "files": _files(folder)}
    write_json(folder / MARK, mark)
