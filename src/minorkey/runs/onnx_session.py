"""A file of ONNX as a function of tensors, run by onnxruntime."""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from minorkey.errors import ConfigError, DataError, ImageSizeError
from minorkey.runs.deployed_info import KEY, DeployedInfo, read_info
from minorkey.tasks.deployed import Size

WANTED = "pip install 'minorkey[export]'"
PROVIDERS = {"cpu": ("CPUExecutionProvider",), "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider")}
"""Of onnxruntime, by the device that was asked for."""


class OnnxSession:
    """Normalised images `(B, 3, H, W)` in, outputs by name out, on the host.

    Args:
        file: written by `minorkey export --to onnx`; it is data, whoever it is from: onnxruntime runs operators of
            its own alone, and reads no file that lies elsewhere.
        device: where it computes; auto: on a GPU where this build of onnxruntime has one.

    Raises:
        ConfigError: onnxruntime is not installed, or has no such device.
        DataError: the file is missing, no ONNX, or not of minorkey's.
    """

    def __init__(self, file: Path, device: str = "auto") -> None:
        runtime = _runtime()
        _check_file(file)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # what fails is raised too
        try:
            self._session = runtime.InferenceSession(str(file), options, providers=_providers(runtime, device))
        except Exception as error:  # of a class for each kind of failure
            raise DataError(f"'{file}' cannot be read as ONNX ({_reason(error)}); export the run again") from error
        told = self._session.get_modelmeta().custom_metadata_map
        if KEY not in told:
            raise DataError(f"'{file}' has no metadata of minorkey; give a file of `minorkey export --to onnx`")
        self.file, self.info = file, read_info(told[KEY], file)
        self._check_outputs()

    def __call__(self, images: Tensor) -> tuple[Mapping[str, Tensor], Size]:
        """What the network gives of images, and the height and width that it saw them in, at the top left.

        Raises:
            ImageSizeError: they are larger than the size that the file was written for.
            DataError: onnxruntime fails.
        """
        canvas = self._filled(images)
        names, size = list(self.info.outputs), (canvas.shape[-2], canvas.shape[-1])
        try:
            values = self._session.run(names, {self._session.get_inputs()[0].name: self._fed(canvas).numpy()})
        except Exception as error:
            raise DataError(f"'{self.file}' fails on images of {size[1]}x{size[0]} ({_reason(error)})") from error
        return dict(zip(names, map(torch.from_numpy, values), strict=True)), size

    def fed(self, images: Tensor) -> Tensor:
        """Normalised images as the file takes them.

        Raises:
            ImageSizeError: they are larger than the size that it was written for.
        """
        return self._fed(self._filled(images))

    def _fed(self, canvas: Tensor) -> Tensor:
        return as_bytes(canvas, self.info) if self.info.preprocess else canvas.contiguous()

    def _filled(self, images: Tensor) -> Tensor:
        """Images filled up with 0, the mean colour, to the size that the file takes."""
        if self.info.size is None:
            return images
        (height, width), given = self.info.size, images.shape[-2:]
        if given[0] > height or given[1] > width:
            raise ImageSizeError(
                f"'{self.file}' takes images of at most {width}x{height}, and this one has {given[1]}x{given[0]}; "
                f"export again with --size {given[0]}x{given[1]}"
            )
        return pad(images, (0, width - given[1], 0, height - given[0]))

    def _check_outputs(self) -> None:
        named = {output.name for output in self._session.get_outputs()}
        if missing := sorted(set(self.info.outputs) - named):
            raise DataError(f"'{self.file}' has no output '{missing[0]}', which it says; export the run again")


def as_bytes(images: Tensor, info: DeployedInfo) -> Tensor:
    """Normalised images `(B, 3, H, W)` as the bytes `(B, H, W, 3)` that they were made of, or the nearest ones."""
    mean, std = (images.new_tensor(values)[:, None, None] for values in (info.mean, info.std))
    return ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"an ONNX file is run by onnxruntime, which is not installed; {WANTED}") from error
    return onnxruntime


def _providers(runtime: Any, device: str) -> list[str]:
    there = runtime.get_available_providers()
    kind = device.partition(":")[0]
    if kind == "auto":
        kind = "cuda" if PROVIDERS["cuda"][0] in there else "cpu"
    if kind not in PROVIDERS or PROVIDERS[kind][0] not in there:
        raise ConfigError(
            f"this onnxruntime has no device '{device}'; leave it at auto or cpu, or pip install onnxruntime-gpu"
        )
    return list(PROVIDERS[kind])


def _check_file(file: Path) -> None:
    """Raise `DataError` unless it is a regular file: nothing is waited for, and no device is read."""
    try:
        regular = stat.S_ISREG(file.stat().st_mode)
    except OSError as error:
        raise DataError(f"no file '{file}'; give one of `minorkey export --to onnx`") from error
    if not regular:
        raise DataError(f"'{file}' is no regular file; give one of `minorkey export --to onnx`")


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
