"""A finished run as something to use: the folded network with its preprocessing and label space."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from transformers import PreTrainedModel

from minorkey.data.given import ImageLike, as_image, is_one_image
from minorkey.data.pixels import DEFAULT, PixelOptions, of_one_kind, picture
from minorkey.data.transforms import brought_to
from minorkey.data.video.clip import opened_clip
from minorkey.data.video.frames import Frame, Sampling, read_ahead
from minorkey.errors import ConfigError, DataError, ImageSizeError
from minorkey.labels import LabelSpace
from minorkey.models.options import PerChannel
from minorkey.system.ahead import IN_MEMORY, Room, ahead, grouped
from minorkey.system.precision import Precision, computing
from minorkey.system.unforeseen import public
from minorkey.tasks.base import Task
from minorkey.tasks.prediction import Prediction
from minorkey.tasks.protocol import LARGE, Protocol
from minorkey.tasks.table import USUAL, task_named

Size = tuple[int, int]
Key = TypeVar("Key")

AT_ONCE = 2**17
"""Pixels that a CPU looks at in one pass, as four images of 256x128: a quarter faster than one by one."""


@dataclass(frozen=True)
class Started:
    """A prediction that the device is at work on; calling it waits, and may be done in another thread."""

    on_device: Any  # in the form of `task.start`
    image: np.ndarray  # (H, W, 3) uint8
    finish: Callable[[Any, np.ndarray], Any]

    def __call__(self) -> Any:
        """The prediction."""
        return self.finish(self.on_device, self.image)


class _Enough(Exception):
    """The first pass is all that is wanted."""


@dataclass
class Predictor:
    """A trained model, ready for images.

    `model` is an ordinary transformers model; nothing of an adapter is left in it.
    """

    model: PreTrainedModel
    space: LabelSpace
    protocol: Protocol
    mean: PerChannel
    std: PerChannel
    window_batch: int = 8
    task: Task = field(default_factory=lambda: task_named(USUAL))
    crop: Size | None = None  # height, width of the training crops; None: images of any size are looked at as a whole
    pixels: PixelOptions = DEFAULT  # channels and range of images
    only: Size | None = None  # height, width of a deployed file that windows as large as `crop` do not fit

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return next(self.model.parameters()).device

    @property
    def precision(self) -> Precision:
        """What the model computes in."""
        return self.protocol.precision

    def in_domain(self, domain: str) -> "Predictor":
        """The same model under the protocol of one domain, where the image may have a size of its own."""
        return replace(self, protocol=self.protocol.in_domain(domain))

    @property
    def prediction_type(self) -> type[Prediction]:
        """What predictions are."""
        return self.task.prediction_type

    def predict(self, images: ImageLike | Sequence[ImageLike], probabilities: bool = False) -> Any:
        """Segment an image, or find the objects in it, or in each of a list.

        Args:
            images: path, PIL image or array `(H, W, 3)` uint8 RGB (or `(H, W)` grey), or a list of these.
            probabilities: also return the probability of every class, `(K, H, W)` (segmentation).

        Returns:
            A `SegmentationPrediction` or a `DetectionPrediction`, or a list of them.

        Raises:
            DataError: an image is missing, broken or no image.
            ImageSizeError: it is too large or small for the network.
            ConfigError: probabilities are asked of a detector.
        """
        if isinstance(images, (list, tuple)):
            return [self.predict_one(as_image(image, self.pixels), probabilities) for image in images]
        return self.predict_one(as_image(images, self.pixels), probabilities)  # type: ignore[arg-type]

    def predict_one(self, image: np.ndarray, probabilities: bool = False) -> Any:
        """Predict one image `(H, W, C)`, uint8 or float32 in [0, 1], as a rule RGB."""
        if probabilities:
            return self.task.prediction(self.output(image), self._shown(image), self.space, probabilities)
        return self.start([image])[0]()

    @public
    def map(
        self, images: Iterable[ImageLike], on_error: Literal["raise", "return"] = "raise"
    ) -> Iterator[tuple[ImageLike, Any]]:
        """Predict many images one after the other, in order, while the next ones are read.

        Args:
            images: paths, PIL images or arrays, of any sizes; taken a few at a time.
            on_error: what an image does that is broken, or too large or small for the network: `raise` its error, or
                `return` it in place of the prediction.

        Returns:
            Each image as it was given, with its prediction.

        Raises:
            ConfigError: `images` is one image, or `on_error` is something else.
            DataError: an image is missing, broken, no image or of a size that does not fit, and errors are raised.
        """
        if isinstance(images, str) or is_one_image(images):
            raise ConfigError("map takes many images, and got one; give a list of images, or ask predict for it")
        return self._map(images, on_error)

    def _map(self, images: Iterable[ImageLike], on_error: str) -> Iterator[tuple[ImageLike, Any]]:
        def finish(pair: tuple[ImageLike, Started | DataError]) -> tuple[ImageLike, Any]:
            image, started = pair
            if isinstance(started, DataError) and on_error == "raise":
                raise started
            return image, started if isinstance(started, DataError) else started()

        room = Room()
        yield from ahead(
            finish, self.started(ahead(partial(_read, room, self.pixels), images, room=room)), 1, lambda: min(2, room())
        )

    @public
    def predict_video(
        self, source: str | Path, *, every: int = 1, start: float = 0.0, end: float | None = None
    ) -> Iterator[tuple[Frame, Any]]:
        """Predict a clip or a stream frame by frame, in order, while the next ones are decoded.

        Args:
            source: a clip, the address of a stream (`rtsp://`, `http://`), or a camera (`/dev/video0`).
            every: each N-th frame is taken.
            start: seconds since the clip's first frame, from which on.
            end: seconds since then, until which; None: to the end.

        Returns:
            Each frame, with its number and its time, and its prediction.

        Raises:
            ConfigError: an argument is of another type, there can be no such frame, or PyAV is not installed.
            DataError: the clip is missing, broken or ends early; predictions of the frames before come first.
        """
        return self._video(source, Sampling(int(every), float(start), None if end is None else float(end)))

    def _video(self, source: str | Path, sampling: Sampling) -> Iterator[tuple[Frame, Any]]:
        room = Room()
        with (
            opened_clip(source) as clip,
            closing(read_ahead(clip.frames(sampling), room)) as read,
            closing(ahead(_finished, self.started(read), 1, lambda: min(2, room()))) as finished,
        ):
            yield from finished

    def started(
        self, images: Iterable[tuple[Key, np.ndarray | DataError]]
    ) -> Iterator[tuple[Key, Started | DataError]]:
        """Predictions that have begun, each with what came with its image; neighbours of one size in one pass.

        An error in place of an image stays one; an image that fits neither the network nor the device's memory becomes
        one.
        """
        for group in grouped(images, lambda pair: self._seen(pair[1]), lambda pair: self.at_once(_size(pair[1]))):
            started = iter(self._tried([image for _, image in group if isinstance(image, np.ndarray)]))
            for key, image in group:
                yield key, image if isinstance(image, DataError) else next(started)

    def _seen(self, image: np.ndarray | DataError) -> Size | None:
        """The height and width of what the network, or its windows, are cut from; those of one pass are equal."""
        size = _size(image)
        return self.protocol.input_size or size if size else None

    def _tried(self, images: list[np.ndarray]) -> Sequence[Started | DataError]:
        try:
            return self.start(images) if images else []
        except torch.OutOfMemoryError:
            height, width = images[0].shape[:2]
            advice = "lower evaluation.batch_size or set a window"
            problem = DataError(f"an image of {width}x{height} does not fit the GPU's memory; {advice}")
        except ImageSizeError as error:
            problem = ImageSizeError(str(error))
        # Out of the block, and of the error, whose traceback would keep what the pass had on the device.
        if len(images) > 1:
            return [one for image in images for one in self._tried([image])]
        return [problem]

    @torch.inference_mode()
    def start(self, images: Sequence[np.ndarray]) -> list[Started]:
        """Begin to predict images of one size, or brought to one, in one pass, without waiting for the device.

        Args:
            images: `(H, W, C)`, uint8 or float32 in [0, 1]; as a rule RGB.

        Returns:
            What waits for the prediction, of each image.
        """
        protocol = self._protocol(images[0].shape[:2])
        with computing(self.model, self.precision):
            started = self.task.start(self.model, self._pixels(images), protocol, self.window_batch)
        return [Started(begun, self._shown(image), self._finish) for begun, image in zip(started, images, strict=True)]

    def _shown(self, image: np.ndarray) -> np.ndarray:
        return picture(image, self.pixels.places)

    @torch.inference_mode()
    def _finish(self, started: Any, image: np.ndarray) -> Any:
        return self.task.finish(started, image, self.space)

    def tile(self, size: Size) -> Size | None:
        """Height and width of the windows for an image (height, width) that is too large to be looked at as a whole.

        None where it is not, or where the protocol says how large images are looked at.
        """
        if self.crop is None or self.protocol.input_size or self.protocol.window or self.protocol.resize is not None:
            return None
        return self.crop if size[0] * size[1] > LARGE * self.crop[0] * self.crop[1] else None

    def _protocol(self, size: Size) -> Protocol:
        """How an image (height, width) is looked at.

        Raises:
            ImageSizeError: windows would be filled up to the size of a deployed file, unlike those of its run.
        """
        tile = self.tile(size)
        if tile is not None and self.only is not None:
            raise ImageSizeError(
                f"the file takes {self.only[1]}x{self.only[0]}, and an image of {size[1]}x{size[0]} would be cut into "
                f"windows of {tile[1]}x{tile[0]}; export again with --size {tile[0]}x{tile[1]}"
            )
        return self.protocol if tile is None else self.protocol.model_copy(update={"tile": tile})

    def at_once(self, size: Size | None) -> int:
        """How many images (height, width) go through the network together: as many as have `window_batch` windows.

        On a CPU so many that they have `AT_ONCE` pixels, as more gain nothing; where images are brought to one size, a
        small one as a rule, as many as memory holds before they are.
        """
        if size is not None and self.protocol.input_size:
            return max(1, min(self.window_batch, IN_MEMORY // (3 * size[0] * size[1])))
        unit = self.protocol.window or self.crop
        if size is None or unit is None:
            return 1
        scale = 1.0 if self.protocol.resize is None else self.protocol.resize / max(size)
        most = self.window_batch * unit[0] * unit[1]
        if self.device.type == "cpu":
            most = min(most, AT_ONCE)
        return max(1, int(most / (size[0] * size[1] * scale**2)))

    @torch.inference_mode()
    def output(self, image: np.ndarray) -> Any:
        """The model's output for an image, in the form of `task.predict`, on the model's device."""
        protocol = self._protocol(image.shape[:2])
        with computing(self.model, self.precision):
            return self.task.predict(self.model, self._pixels([image]), protocol, self.window_batch)

    def first_pass(self, image: np.ndarray) -> Tensor:
        """What goes into the network first as an image is predicted: `(B, C, h, w)`, e.g. some of its windows."""
        seen: list[Tensor] = []

        def note(model: nn.Module, inputs: tuple, named: dict[str, Any]) -> None:
            seen.append(named["pixel_values"])
            raise _Enough

        handle = self.model.register_forward_pre_hook(note, with_kwargs=True)
        try:
            self.start([image])
        except _Enough:
            pass
        finally:
            handle.remove()
        return seen[0]

    def _pixels(self, images: Sequence[np.ndarray]) -> Tensor:
        """Images as the network takes them, `(B, C, H, W)`; of one size, unless the protocol brings them to one."""
        if size := self.protocol.input_size:
            return torch.cat([brought_to(self._normalised([image]), size) for image in images])
        return self._normalised(images)

    def _normalised(self, images: Sequence[np.ndarray]) -> Tensor:
        """Images of one size, `(B, C, H, W)`: as bytes to the device, normalised there."""
        # One that is flipped, as BGR made RGB is, or that may not be written to is copied.
        images = of_one_kind(images)
        given = torch.from_numpy(np.stack(images) if len(images) > 1 else np.require(images[0][None], None, ["C", "W"]))
        if self.device.type == "cuda":
            given = given.pin_memory()
        given = given.to(self.device, non_blocking=True)
        if given.shape[3] != len(self.mean):
            raise DataError(f"image has {given.shape[3]} channels, the network takes {len(self.mean)}")
        pixels = torch.empty(len(images), len(self.mean), *given.shape[1:3], device=self.device)
        # The arithmetic of `to_tensor`, on a CPU to the bit, a channel at a time and in place.
        for channel, (shift, scale) in enumerate(zip(self.mean, self.std, strict=True)):
            plane = pixels[:, channel].copy_(given[..., channel])
            (plane.div_(255) if given.dtype == torch.uint8 else plane).sub_(shift).div_(scale)
        return pixels

    def probabilities(self, image: np.ndarray) -> Tensor:
        """Class probabilities `(K, H, W)` of segmentation, on the model's device; they sum to 1 at each pixel.

        Those of a mask model are its class scores, divided by their sum.
        """
        return self.output(image)[0]


def telling(
    predictor: Predictor, console: Console, images: Iterable[tuple[Key, np.ndarray | DataError]]
) -> Iterator[tuple[Key, np.ndarray | DataError]]:
    """The images, and a line on the console for the first that is looked at by windows that nobody asked for."""
    announced = False
    for key, image in images:
        size = _size(image)
        tile = None if announced or size is None or predictor.only else predictor.tile(size)
        if size is not None and tile is not None:
            announced = True
            console.print(
                f"images like one of {size[1]}x{size[0]} are more than {LARGE} training crops large: they are looked "
                f"at by windows of {tile[1]}x{tile[0]}; set evaluation.resize (of segmentation also evaluation.window) "
                "to choose",
                highlight=False,
                soft_wrap=True,
            )
        yield key, image


def _size(image: np.ndarray | DataError) -> Size | None:
    return image.shape[:2] if isinstance(image, np.ndarray) else None


def _finished(pair: tuple[Frame | None, Started | DataError]) -> tuple[Frame, Any]:
    frame, started = pair
    if isinstance(started, DataError) or frame is None:
        raise started  # type: ignore[misc]  # there is a frame unless there is an error
    return frame, started()


def _read(room: Room, pixels: PixelOptions, image: ImageLike) -> tuple[ImageLike, np.ndarray | DataError]:
    try:
        values = as_image(image, pixels)
    except DataError as error:
        return image, error
    room.note(values)
    return image, values
