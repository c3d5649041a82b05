"""What a configuration leaves to its sources: the classes that they name, and what the values of their images mean."""

from minorkey.config import RunConfig
from minorkey.data.classes import OF_THE_DATA, classes_of_source
from minorkey.data.measured import channel_statistics
from minorkey.data.pixels import GREY, RGB, PixelOptions
from minorkey.data.readers import Reader, open_datasets, stated_pixels
from minorkey.data.transforms import TransformConfig
from minorkey.labels.space import held
from minorkey.models.options import BackboneOptions
from minorkey.system.faults import own_options
from minorkey.tasks.table import task_named


def with_classes(config: RunConfig) -> RunConfig:
    """A configuration that holds its classes itself, where they are those that the data or a file names.

    Raises:
        MinorkeyError: as `classes_of_source`, or the file is missing or wrong.
    """
    if config.label_space in OF_THE_DATA:
        sources, annotation = [source.data for source in config.source], task_named(config.task).annotation
        space = classes_of_source(sources, config.unseen, annotation=annotation, data_root=config.data_root)
    else:
        space = held(config.label_space)
    return config.model_copy(update={"label_space": space})


def with_pixels(config: RunConfig) -> RunConfig:
    """A configuration that says what the values of its images mean, where its sources do.

    Channels other than red, green and blue become those of the network, and are normalised by what is measured on the
    sources, unless backbone.mean and backbone.std are given; grey by the network's own. Saturation and hue stay.

    Raises:
        MinorkeyError: the sources disagree, or cannot be read.
    """
    pixels = pixels_of_sources(config)
    if pixels.names == RGB:
        return config.model_copy(update={"pixels": pixels})
    config, colours = config.model_copy(update={"pixels": pixels}), set(pixels.names) <= {*RGB, *GREY}
    backbone = config.backbone.model_dump() | {"channels": pixels.names}
    if not colours and (config.backbone.mean is None or config.backbone.std is None):
        mean, std = channel_statistics(_opened(config), pixels.names)
        backbone |= {"mean": config.backbone.mean or mean, "std": config.backbone.std or std}
    config = config.model_copy(update={"backbone": own_options("backbone", BackboneOptions, backbone)})
    return config if colours else config.model_copy(update=_without_colours(config))


def _without_colours(config: RunConfig) -> dict[str, TransformConfig]:
    """The transforms without changes of saturation and hue, which channels of other names do not have."""
    same = {"saturation": (1.0, 1.0), "hue": 0.0}
    transforms = {"transform": config.transform, "target_transform": config.target_transform}
    return {
        name: each.model_copy(update={"photometric": each.photometric and each.photometric.model_copy(update=same)})
        for name, each in transforms.items()
        if each is not None
    }


def pixels_of_sources(config: RunConfig) -> PixelOptions:
    """What a configuration says of the values of images, and where it says nothing its sources.

    Raises:
        MinorkeyError: they disagree, or cannot be read.
    """
    pixels, task = config.pixels.completed(PixelOptions(channels=config.backbone.channels)), task_named(config.task)
    for source in config.source:
        stated = stated_pixels(source.data, annotation=task.annotation, data_root=config.data_root)
        pixels = pixels.completed(stated)
    return pixels


def _opened(config: RunConfig) -> list[Reader]:
    """The images of the sources."""
    return [
        reader
        for source in config.source
        for reader in open_datasets(
            source.data,
            role="target",
            label_space=None,
            data_root=config.data_root,
            options=config.world,
            annotation=task_named(config.task).annotation,
            seed=config.seed,
            pixels=config.pixels,
        )
    ]
