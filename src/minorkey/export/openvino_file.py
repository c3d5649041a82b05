"""`--to openvino`: the ONNX file as OpenVINO's own, made by OpenVINO and compared with the run by it."""

from dataclasses import replace
from pathlib import Path

from minorkey.errors import ConfigError
from minorkey.export.card import Card
from minorkey.export.deploy_options import DeployOptions
from minorkey.export.onnx_file import FILE, SCRIPT, write_onnx
from minorkey.export.trained import Trained

CODE = """\
import json

import numpy as np
import openvino

about = json.load(open(f"{folder}/metadata.json", encoding="utf-8"))
network = openvino.compile_model(f"{folder}/model.xml")
height, width = about["size"] or about["crop"]
images = np.zeros((1, len(about["mean"]), height, width), np.float32)  # normalised by the mean and std of `about`
outputs = {name: network(images)[name] for name in about["outputs"]}
"""


def write_openvino(trained: Trained, folder: Path, options: DeployOptions) -> Card:
    """Write `model.xml` and `model.bin` from the ONNX file, which is checked first and not kept.

    Raises:
        ConfigError: openvino is not installed, or an option is of ONNX files alone.
        ModelError: as `write_onnx`.
    """
    if other := [name for name in ("half", "preprocess", "int8") if getattr(options, name)]:
        raise ConfigError(f"--{other[0]} is for --to onnx; leave it out")
    try:
        import openvino
    except ImportError as error:
        raise ConfigError("--to openvino needs the package openvino: pip install openvino") from error
    card = write_onnx(trained, folder, options)
    openvino.save_model(openvino.convert_model(folder / FILE), folder / "model.xml", compress_to_fp16=False)
    for name in (FILE, SCRIPT):
        (folder / name).unlink(missing_ok=True)
    what = card.what.replace("one ONNX file", "a file of OpenVINO")
    notes = [*card.notes[:3], "It was made of an ONNX file, which that difference is of."]
    return replace(card, what=what, code=CODE, library="openvino", notes=notes)
