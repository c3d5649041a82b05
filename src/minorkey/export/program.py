"""`--to torch`: a graph of torch.export, which torch runs without the code of the model."""

from pathlib import Path

import torch

from minorkey.errors import ConfigError, ModelError
from minorkey.export.card import Card
from minorkey.export.deploy_options import DeployOptions
from minorkey.export.graph import traced
from minorkey.export.onnx_file import METADATA, TOLERANCE
from minorkey.export.seen import in_size, real_image, size_asked
from minorkey.export.trained import Trained
from minorkey.system.storage import write_text

FILE = "model.pt2"

CODE = """\
import json

import torch

about = json.load(open(f"{{folder}}/metadata.json", encoding="utf-8"))
network = torch.export.load(f"{{folder}}/model.pt2").module()
images = torch.zeros(1, {0}, {1}, {2})  # normalised by the mean and std of `about`
outputs = dict(zip(about["outputs"], network(images)))
"""
SAFE = (
    "`torch.export.load` runs no code of the file's that is not an operator of torch, but it reads constants by "
    "`torch.load` and is not meant for files of strangers: load it where you trust whoever wrote it. The ONNX file of "
    "`--to onnx` is data alone."
)


def write_program(trained: Trained, folder: Path, options: DeployOptions) -> Card:
    """Write `model.pt2` for batches of any number, of one size of images.

    Raises:
        ConfigError: an option is of ONNX files alone.
        ModelError: the network cannot be followed, or the file does not compute what the run does.
    """
    alone = ("half", "opset", "preprocess", "int8", "calibrate", "images")
    if other := [name for name in options.used() if name.removeprefix("--") in alone]:
        raise ConfigError(f"{other[0]} is for --to onnx; leave it out")
    predictor = trained.predictor
    deployed = trained.task.deployed(predictor.model, predictor.protocol, options.scale)
    images = in_size(predictor.first_pass(real_image(trained)), deployed, size_asked(trained, options))
    size = images.shape[-2], images.shape[-1]
    network = deployed.network.eval()
    program = traced(network, images, any_size=False, gathers=options.gathers)
    torch.export.save(program, folder / FILE)
    with torch.no_grad():
        expected = dict(zip(deployed.outputs, network(images), strict=True))
        given = dict(zip(deployed.outputs, torch.export.load(folder / FILE).module()(images), strict=True))
    difference = deployed.difference(expected, given)
    if not difference <= TOLERANCE["fp32"]:
        raise ModelError(f"the graph differs from the run by {difference:.1e} of the largest value; report it")
    info = trained.info(deployed, size, preprocess=False, scale=options.scale)
    write_text(folder / METADATA, info.text())
    exported = trained.task.exported(predictor.model)
    return Card(
        what=f"{exported.name} as a graph of torch.export, with everything it has learnt folded into its weights.",
        code=CODE.format(len(predictor.mean), *size),
        library="pytorch",
        task=exported.pipeline,
        relation="finetune",
        notes=[
            f"On images of {size[0]} x {size[1]} pixels, in batches of any number. On an image of the run the outputs "
            f"differ from the run's by {difference:.1e} at most, as a share of the largest.",
            "\n".join(f"- `{name}`: {what}" for name, what in info.outputs.items()),
            SAFE,
        ],
    )
