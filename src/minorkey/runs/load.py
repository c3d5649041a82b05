"""A run from its folder: its configuration, and its model as a `Predictor`."""

from pathlib import Path
from typing import Any

import torch

from minorkey.adapters import attach, fold, load_adapter
from minorkey.adapters.convert import PROVENANCE
from minorkey.config import RunConfig, load_config
from minorkey.data.pixels import PixelOptions
from minorkey.errors import AdapterError, ConfigError, DataError, unknown
from minorkey.labels import LabelSpace, label_space
from minorkey.models.build import load_head
from minorkey.models.heads.detection.collaborative import drop_auxiliary
from minorkey.runs.assemble import Network, build_network
from minorkey.runs.deployed import deployed_config, is_deployed
from minorkey.runs.onnx_session import OnnxSession
from minorkey.system.outside import outside_allowed, outside_faults
from minorkey.system.precision import evaluation_precision, units_of
from minorkey.system.reading import shown
from minorkey.system.run_folder import RunFolder, resuming
from minorkey.system.storage import read_tensors
from minorkey.system.tensors import check_tensors
from minorkey.system.unforeseen import public
from minorkey.tasks.deployed import DeployedNetwork
from minorkey.tasks.predictor import Predictor
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.scored import task_with
from minorkey.tasks.table import task_named
from minorkey.training.device import device_for


@public
def config_of(run: str | Path) -> RunConfig:
    """The configuration of the run in a folder.

    Raises:
        DataError: there is no run, or it is a round of one.
    """
    folder = RunFolder(Path(run))
    whole = RunFolder(folder.path.resolve().parent.parent)
    if folder.path.resolve().parent.name == "rounds" and whole.config.is_file():
        raise DataError(f"'{folder.path}' is a round of the run '{whole.path}'; finish that by {resuming(whole.path)}")
    if not folder.config.is_file():
        raise DataError(f"no run in '{folder.path}' (config.yaml is missing); give the --out folder of a training")
    return load_config(folder.config)


def pixels_of(run: Path) -> PixelOptions:
    """How images are read for a run, or for an ONNX file that was exported of one."""
    if not is_deployed(run):
        return config_of(run).pixels
    session = OnnxSession(run, "cpu")
    return deployed_config(session.info, session.file, {}).pixels


@public
@outside_faults()
def load(run: str | Path, *, device: str = "auto", allow_outside: bool = False) -> Predictor:
    """A finished training as a `Predictor`: the adapter folded into the backbone, the head on top.

    Args:
        run: run folder, or an ONNX file that `export_run` wrote of one.
        device: where it predicts: auto (a GPU, if there is one), cpu or cuda (the GPU that torch takes by itself).
        allow_outside: let the run name code that is not of this package, and run it.

    Raises:
        ConfigError: the run names such code, and that is not allowed; there is no such device; or onnxruntime, which
            runs a file, is missing.
        DataError: there is no finished training in `run`.
        AdapterError: the backbone's weights are not those that the run started from.
    """
    if is_deployed(run):
        with outside_allowed(allow_outside):
            session = OnnxSession(Path(run), device)
            return predictor_of_session(session, deployed_config(session.info, session.file, {}))
    folder = RunFolder(Path(run))
    folder.require_trained()
    if device == "cuda" and torch.cuda.is_available():
        device = "auto"
    if device not in ("auto", "cpu"):
        raise ConfigError(f"device is {shown(device)}; expected 'auto', which is a GPU if there is one, or 'cpu'")
    with outside_allowed(allow_outside):
        config = load_config(folder.config)
    config = config.model_copy(update={"training": config.training.model_copy(update={"device": device})})
    return predictor_of(folder, config)


def predictor_of(folder: RunFolder, config: RunConfig) -> Predictor:
    """The model that a finished training left in a folder, on the device and under the protocol of a configuration."""
    space = label_space(config.label_space)
    network = build_network(config, space)
    load_head(network.model, folder, config.backbone.name, network.base_sha256)
    _load_trained(folder, config, network)
    drop_auxiliary(network.model)
    network.model.requires_grad_(False).eval().to(device_for(config.training))
    return predictor_for(config, network, space)


def _load_trained(folder: RunFolder, config: RunConfig, network: Network) -> None:
    """Give the pretrained backbone what a training made of it, as its method says: nothing else is looked for."""
    trains, saved, backbone = config.method.spec.trains, folder.record(), network.backbone
    if trains in ("adapter", "norms"):
        if not folder.adapter.is_dir():
            raise AdapterError(
                f"run '{folder.path}' lacks its adapter/, without which method {config.method.name} is the pretrained "
                "backbone; copy it from where it is whole"
            )
        saved.check(f"{folder.adapter.name}/{PROVENANCE}")
        load_adapter(backbone, folder.adapter)
        own = dict(backbone.named_parameters())
        if beside := {name: own[name] for name in network.also if name in own}:
            tensors = read_tensors(folder.backbone, saved.sha256(folder.backbone.name))
            check_tensors(tensors, beside, f"'{folder.backbone}'", "it is of another backbone")
            backbone.load_state_dict(tensors, strict=False)
    elif trains == "nothing" and not network.also:
        return
    else:
        tensors = read_tensors(folder.backbone, saved.sha256(folder.backbone.name))
        attached = attach(backbone, config.method, also=network.also)
        attached.load_state_dict({f"trained.{name}": tensor for name, tensor in tensors.items()})
    fold(backbone)


def protocol_of(config: RunConfig) -> Protocol:
    """The test protocol of a configuration, on the device of this process."""
    options, space = config.evaluation, label_space(config.label_space)
    for name in options.classes or ():
        if name not in space.classes:
            raise ConfigError(unknown(f"class of label space '{space.name}'", name, space.classes))
    return Protocol(
        label_space=space.name,
        resize=options.resize,
        resize_in=options.resize_in,
        weights=config.deployed,
        classes_scored=options.classes,
        metric=config.metric,
        task=None if task_with(config.metric) == config.task else config.task,
        precision=evaluation_precision(options.precision, units_of(device_for(config.training))),
        **task_named(config.task).protocol(config),
    )


def predictor_for(config: RunConfig, network: Network, space: LabelSpace) -> Predictor:
    """A network under the test protocol of a configuration."""
    return Predictor(
        network.model,
        space,
        protocol_of(config),
        network.loaded.mean,
        network.loaded.std,
        config.evaluation.batch_size,
        task_named(config.task),
        config.transform.crop,
        config.pixels,
    )


def predictor_of_session(session: OnnxSession, config: RunConfig) -> Predictor:
    """The network of a deployed file under the protocol of a configuration (`deployed_config`).

    Raises:
        DataError: the file names its classes twice, and not alike.
    """
    info, task, space = session.info, task_named(config.task), label_space(config.label_space)
    if list(space.classes) != info.classes:
        raise DataError(f"'{session.file}' names its classes twice, and not alike; export the run again")
    network: Any = DeployedNetwork(session, task.from_deployed, info.by_masks).eval()
    protocol = protocol_of(config).model_copy(update={"weights": info.weights, "precision": "fp32"})
    size = config.transform.crop
    # A run fills its windows up to whole multiples too: those the file has to have.
    windows = tuple(-(-side // info.multiple) * info.multiple for side in size)
    only = None if info.size in (None, windows) else info.size
    at_a_time = config.evaluation.batch_size
    return Predictor(network, space, protocol, info.mean, info.std, at_a_time, task, size, config.pixels, only)
