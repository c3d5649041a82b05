"""A network as one graph: traced by torch.export, written as ONNX."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from minorkey.errors import ConfigError, ModelError
from minorkey.models.exporting import exportable
from minorkey.models.options import PerChannel

INPUT = "images"
AXES = ("batch", "channels", "height", "width")
LARGE = 2**16
"""Pixels of a side that no image has."""

WANTED = "pip install 'minorkey[export]'"


class Normalising(nn.Module):
    """Bytes in, what a network gives of them out."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: PerChannel, std: PerChannel) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, images: Tensor) -> Any:
        """Of images `(B, H, W, C)` uint8."""
        return self.network((images.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std)


def traced(network: nn.Module, images: Tensor, *, any_size: bool, gathers: bool) -> ExportedProgram:
    """The graph of a network for any number of images, and for any height and width if asked.

    Args:
        network: a `Deployed.network`, or that with its normalisation.
        images: two of them: one would be taken for a constant.
        any_size: height and width are left open.
        gathers: see `exportable`.

    Raises:
        ModelError: it cannot be followed.
    """
    height, width = (1, 2) if images.dtype == torch.uint8 else (2, 3)
    free = {0: Dim.DYNAMIC, **({height: Dim.DYNAMIC, width: Dim.DYNAMIC} if any_size else {})}
    with torch.no_grad(), exportable(network, gathers=gathers), _quiet():
        network(images)  # what is kept for a size is made now, and not of symbols
        try:
            program = torch.export.export(
                network, (images,), dynamic_shapes=(free,), prefer_deferred_runtime_asserts_over_guards=True
            )
        except Exception as error:  # of a dozen kinds
            raise ModelError(
                f"the network cannot be followed by torch.export ({first_line(error)}); choose another head, or take "
                "the export `--to model`"
            ) from error
    _refuse_bounds(program)
    return program


def _refuse_bounds(program: ExportedProgram) -> None:
    """Raise `ModelError` where a graph for images of any size holds up to some size alone."""
    bounds = [limits.upper for limits in program.range_constraints.values()]
    if small := [int(upper) for upper in bounds if upper < LARGE]:
        raise ModelError(f"the graph holds for sides of up to {min(small)} pixels alone")


def as_onnx(program: ExportedProgram, outputs: Sequence[str], opset: int) -> Any:
    """A graph as ONNX, simplified: constants folded, what is unused or doubled left out.

    Returns:
        An `onnx.ModelProto`.

    Raises:
        ConfigError: the packages for it are not installed, or ONNX cannot hold an operator.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"ONNX is written by onnx and onnxscript, and {error.name} is missing; {WANTED}") from error
    with _quiet():
        try:
            written = torch.onnx.export(
                program,
                input_names=[INPUT],
                output_names=list(outputs),
                opset_version=opset,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ConfigError(
                f"ONNX opset {opset} cannot hold the network ({_operator(error)}); try --opset with a higher number, "
                "or --to torch"
            ) from error
        assert written is not None
        model = written.model_proto
        written.optimize()
        # A rule of onnxscript's that fuses what is read elsewhere too leaves that without its input.
        model = simpler if is_whole(simpler := written.model_proto) else model
    _name_axes(model)
    return model


def is_whole(model: Any) -> bool:
    """Whether every node of an `onnx.ModelProto` reads what is there before it."""
    known = {"", *(given.name for given in model.graph.input), *(tensor.name for tensor in model.graph.initializer)}
    for node in model.graph.node:
        if not known.issuperset(node.input):
            return False
        known.update(node.output)
    return known.issuperset(output.name for output in model.graph.output)


def first_line(error: BaseException) -> str:
    """The first line that says something, and the next where that is its heading."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[: 1 + lines[0].endswith(":")])[:200]


def _operator(error: BaseException) -> str:
    """What exactly failed: the innermost reason."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


def _name_axes(model: Any) -> None:
    """Call the open sides of the input what they are, there and wherever a size follows from them alone."""
    (given,) = model.graph.input
    bytes_in = len(given.type.tensor_type.shape.dim) == 4 and given.type.tensor_type.elem_type == 2  # uint8, B H W C
    axes = ("batch", "height", "width", "channels") if bytes_in else AXES
    names = {
        dim.dim_param: axis for dim, axis in zip(given.type.tensor_type.shape.dim, axes, strict=True) if dim.dim_param
    }
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the remarks of torch's exporters, which are for their authors."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
