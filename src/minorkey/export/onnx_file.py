"""`--to onnx`: one file that onnxruntime, TensorRT and others run, compared with the run before it is kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minorkey.errors import ConfigError, DataError, ModelError
from minorkey.export.card import Card
from minorkey.export.deploy_options import DeployOptions
from minorkey.export.graph import Normalising, as_onnx, traced
from minorkey.export.int8 import calibration_readers, quantised
from minorkey.export.script import script
from minorkey.export.seen import in_size, other_size, real_image, size_asked
from minorkey.export.trained import Trained
from minorkey.runs.deployed_info import KEY, DeployedInfo
from minorkey.runs.onnx_session import OnnxSession, as_bytes
from minorkey.system.storage import write_text
from minorkey.tasks.deployed import Deployed

FILE, METADATA, SCRIPT = "model.onnx", "metadata.json", "predict.py"

TOLERANCE = {"fp32": 1e-4, "fp16": 5e-2}
"""Largest difference from the run's outputs, as a share of the largest; of 8 bits none is asked, but a judgement."""

TRACED = 160, 224
"""Height and width that a graph for any size is made on: every map of it has several cells along each side, for one of
a single cell would be taken for one that always has."""

ONE_FILE = 1_900_000_000
"""Bytes above which weights lie in a file of their own: a message of protobuf holds 2 GiB."""

CODE = """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(f"{{folder}}/model.onnx", providers=["CPUExecutionProvider"])
{example}
outputs = dict(zip((output.name for output in session.get_outputs()), session.run(None, {{"images": images}})))
"""
EXAMPLE = {
    False: "images = np.zeros((1, {2}, {0}, {1}), np.float32)  # normalised by the mean and std of metadata.json",
    True: "images = np.zeros((1, {0}, {1}, 3), np.uint8)",
}
TO_JUDGE = "8 bits are not held to a limit: judge the file"


@dataclass(frozen=True)
class Checked:
    """A file in float32 that computes what the run does."""

    info: DeployedInfo
    images: Tensor  # normalised, (2, 3, h, w), of the run
    difference: float
    why_fixed: str  # empty: images may have any size


def write_onnx(trained: Trained, folder: Path, options: DeployOptions) -> Card:
    """Write `model.onnx` with all that is to be known of it, and a script that predicts with it.

    Raises:
        ConfigError: a package is missing, or ONNX cannot hold the network.
        ModelError: the network cannot be followed, or the file does not compute what the run does.
    """
    if options.preprocess and not bytes_of_rgb(trained):
        raise ConfigError("--preprocess is for RGB images of 8 bits, and this run has others; leave it out")
    if options.int8:
        calibration_readers(trained, options)  # before anything is computed
    size_asked(trained, options)
    predictor, file = trained.predictor, folder / FILE
    deployed = trained.task.deployed(predictor.model, predictor.protocol, options.scale)
    checked = _checked(trained, deployed, options, file)
    info, difference = checked.info, checked.difference
    if options.half or options.int8:
        info = info.model_copy(update={"computed": "int8" if options.int8 else "fp16"})
        change = quantised(file, trained, checked.info, options) if options.int8 else halved(file)
        save(change, info, file)
        difference = _difference(file, deployed, checked.images)
        _refuse(difference, info.computed)
    write_text(folder / METADATA, info.text())
    if bytes_of_rgb(trained):
        write_text(folder / SCRIPT, script(deployed.script))
    return _card(trained, info, difference, checked.why_fixed)


def bytes_of_rgb(trained: Trained) -> bool:
    """Whether the run's images are RGB of 8 bits, which is what the script reads, and what bytes can hold."""
    pixels = trained.config.pixels
    return len(trained.predictor.mean) == 3 and pixels == type(pixels)()


def _checked(trained: Trained, deployed: Deployed, options: DeployOptions, file: Path) -> Checked:
    """Write the graph for images of any size where that can be had, else for those of the run."""
    why = f"height and width are {'as asked' if options.size else 'fixed as such a graph is made'}"
    for any_size in (True, False) if deployed.any_size and options.size is None else (False,):
        seen = trained.predictor.first_pass(real_image(trained))
        images = in_size(seen, deployed, None if any_size else options.size)
        size = None if any_size else (images.shape[-2], images.shape[-1])
        info = trained.info(deployed, size, preprocess=options.preprocess, scale=options.scale, opset=options.opset)
        try:
            save(_graph(deployed, info, options, images), info, file)
            others = other_size(images, deployed) if any_size else images[:1]
            difference = max(_difference(file, deployed, each) for each in (images, others))
            _refuse(difference, "fp32")
        except (ModelError, DataError) as error:
            if not any_size:
                raise
            why = f"not of any size: {error}"
        else:
            return Checked(info, images, difference, "" if any_size else why)
    raise AssertionError("the last of the two tries returns or raises")


def _graph(deployed: Deployed, info: DeployedInfo, options: DeployOptions, images: Tensor) -> Any:
    network = deployed.network.eval()
    if info.size is None:
        images = images.new_zeros(2, images.shape[1], *TRACED)
    if info.preprocess:
        network = Normalising(network, info.mean, info.std).eval()
        images = as_bytes(images, info)
    program = traced(network, images, any_size=info.size is None, gathers=options.gathers)
    return as_onnx(program, list(deployed.outputs), options.opset)


def _difference(file: Path, deployed: Deployed, images: Tensor) -> float:
    """The largest difference of a file's outputs from the run's, for images `(B, 3, H, W)`."""
    session = OnnxSession(file, "cpu")
    if session.info.preprocess:  # both see what bytes can hold
        mean, std = (images.new_tensor(values)[:, None, None] for values in (session.info.mean, session.info.std))
        images = (as_bytes(images, session.info).permute(0, 3, 1, 2).float() / 255 - mean) / std
    with torch.no_grad():
        expected = dict(zip(deployed.outputs, deployed.network(images), strict=True))
    return deployed.difference(expected, session(images)[0])


def _refuse(difference: float, computed: str) -> None:
    limit = TOLERANCE.get(computed)
    if limit is not None and not difference <= limit:  # nor where it is NaN
        raise ModelError(
            f"the ONNX file differs from the run by {difference:.1e} of the largest value, more than {limit:.0e}; "
            "try another --opset, or leave --half out"
        )


def save(model: Any, info: DeployedInfo, file: Path) -> None:
    """Write an `onnx.ModelProto` with its metadata; the weights of a large one lie in `model.onnx.data` beside it."""
    import onnx

    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {KEY: info.text()})
    apart = model.ByteSize() > ONE_FILE
    (file.parent / f"{file.name}.data").unlink(missing_ok=True)  # onnx would add to it
    onnx.save(model, str(file), save_as_external_data=apart, location=f"{file.name}.data")


def halved(file: Path) -> Any:
    """The file in float16; what goes in and out stays float32.

    Raises:
        ConfigError: onnxruntime, which does it, is not installed in full.
    """
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    exact = [*DEFAULT_OP_BLOCK_LIST, "IsInf"]  # which ONNX has no float16 of before opset 20
    return convert_float_to_float16(onnx.load(str(file)), keep_io_types=True, op_block_list=exact)


def _card(trained: Trained, info: DeployedInfo, difference: float, why_fixed: str) -> Card:
    height, width = info.size or info.crop
    sides = f"{height} x {width} pixels" if info.size else "any size"
    example = EXAMPLE[info.preprocess].format(height, width, len(info.mean))
    tolerance = f"at most {TOLERANCE[info.computed]:.0e} is let through" if info.computed in TOLERANCE else TO_JUDGE
    notes = [
        f"Computed in {info.computed}, opset {info.opset}, on images of {sides} and in batches of any number"
        + (f" ({why_fixed})." if why_fixed else "."),
        f"On an image of the run the outputs differ from the run's by {difference:.1e} at most, as a share of the "
        f"largest ({tolerance}).",
        "\n".join(f"- `{name}`: {what}" for name, what in info.outputs.items()),
        "`minorkey predict` and `minorkey evaluate` take the file in the place of a run, with its windows and sizes.",
    ]
    if bytes_of_rgb(trained):
        notes.append(f"`python {SCRIPT} IMAGE...` predicts whole images with onnxruntime, Pillow and numpy alone.")
    exported = trained.task.exported(trained.predictor.model)
    return Card(
        what=f"{exported.name} as one ONNX file, with everything it has learnt folded into its weights.",
        code=CODE.format(example=example),
        library="onnx",
        task=exported.pipeline,
        relation="quantized" if info.computed == "int8" else "finetune",
        notes=notes,
        told=notes[:2],
    )
