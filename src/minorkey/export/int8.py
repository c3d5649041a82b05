"""Weights and arithmetic in 8 bits: ranges are measured on images of several domains, by onnxruntime."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minorkey.data.readers import Reader, SourceOptions
from minorkey.errors import ConfigError
from minorkey.export.deploy_options import DeployOptions
from minorkey.export.graph import INPUT
from minorkey.export.seen import no_larger
from minorkey.export.trained import Trained
from minorkey.runs.assemble import open_targets
from minorkey.runs.deployed_info import DeployedInfo
from minorkey.runs.onnx_session import OnnxSession
from minorkey.system.reading import words

LEAST_DOMAINS = 2
"""Ranges of one domain may cut off what another has: what is bright in fog, what is faint at night."""


def quantised(file: Path, trained: Trained, info: DeployedInfo, options: DeployOptions) -> Any:
    """The network of a file with weights and arithmetic in int8, a scale for each channel of a weight.

    Args:
        file: in float32.
        trained: its run.
        info: what the file says of itself.
        options: `calibrate` names what ranges are measured on.

    Returns:
        An `onnx.ModelProto` with pairs of QuantizeLinear and DequantizeLinear, which runtimes fuse.

    Raises:
        ConfigError: the images are of one domain, or onnxruntime cannot quantise the network.
        DataError: an image cannot be read.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = calibration(trained, options)

        def get_next(self) -> dict[str, np.ndarray] | None:
            images = next(self.batches, None)
            return None if images is None else {INPUT: session.fed(no_larger(images, info.size)).numpy()}

    session = OnnxSession(file, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        prepared, result = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        try:
            quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared),
                str(result),
                Images(),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["Conv", "MatMul", "Gemm"],
            )
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"onnxruntime cannot quantise the network ({words(error)}); leave --int8 out") from error
        return onnx.load(str(result))


def calibration_readers(trained: Trained, options: DeployOptions) -> list[Reader]:
    """The images that ranges are measured on, as those of a target are read: without their labels.

    Raises:
        ConfigError: they are of one domain.
    """
    targets = [SourceOptions(data=name) for name in options.calibrate]
    opened = open_targets(trained.config.model_copy(update={"target": targets}), trained.predictor.space)
    readers = [] if opened is None else opened.readers
    if len(domains := {reader.domain for reader in readers}) < LEAST_DOMAINS:
        raise ConfigError(
            f"--calibrate has images of one domain, {', '.join(domains)}: ranges that are measured there may cut off "
            "what others show, and scores fall where nobody looks; add others, e.g. a dark and a foggy one"
        )
    return readers


def calibration(trained: Trained, options: DeployOptions) -> Iterator[Tensor]:
    """What the network sees of each image to calibrate on, `(1, 3, h, w)`, normalised, the domains in turn."""
    readers = calibration_readers(trained, options)
    for place in range(options.images):
        for reader in readers:
            count = min(len(reader), options.images)
            if place < count:
                image = reader[(2 * place + 1) * len(reader) // (2 * count)].image  # evenly spaced
                with torch.no_grad():
                    yield trained.predictor.in_domain(reader.domain).first_pass(image)[:1].float().cpu()
