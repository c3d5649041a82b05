"""Data sets in the format of Hugging Face `datasets`: a repository of its hub, or a local folder."""

import os
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl

from huggingface_hub.constants import HF_HUB_CACHE
from pydantic import BaseModel, ConfigDict

from minorkey.data.frames import orientation_of, upright_labels
from minorkey.data.images import read_image
from minorkey.data.readers.decode import LabelDecoder
from minorkey.data.readers.kinds import read_spec
from minorkey.data.readers.locate import split_name
from minorkey.data.readers.pairing import NoSplit
from minorkey.data.readers.reader import Role
from minorkey.data.readers.spec import DatasetSpec
from minorkey.data.sample import Sample
from minorkey.errors import ConfigError, DataError, unknown
from minorkey.labels import LabelSpace
from minorkey.labels.tables import parse_row
from minorkey.system.regular import regular_bytes

SPLITS: dict[Role, tuple[str, ...]] = {
    "source": ("train",),
    "target": ("train",),
    "validation": ("validation", "val", "test"),
    "unseen": ("validation", "val", "test"),
}
LABEL_COLUMNS = ("label", "labels", "annotation", "mask", "semantic_segmentation", "label_ids")


class HubOptions(BaseModel):
    """What may follow the `?` of an `hf:` name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = "image"  # column of the images
    config: str | None = None  # configuration of the repository, where it has several


class PixelHubOptions(HubOptions):
    """The same where there are label images, e.g. `?label=mask&legend=cityscapes-train`."""

    label: str | None = None  # column of the label images; the first of LABEL_COLUMNS that is there where absent
    legend: str | None = None  # a shipped legend; else what dataset.yaml in the folder says


Options = TypeVar("Options", bound=HubOptions)


class Labels(NamedTuple):
    """Where the labels of a row are, and what their ids stand for."""

    column: str
    decoder: LabelDecoder


class HuggingFaceReader:
    """Rows with an image and perhaps a label image, labels mapped to a label space while reading."""

    def __init__(
        self,
        rows: Any,
        image: str,
        labels: Labels | None,
        *,
        name: str,
        domain: str,
        path: str | None = None,
        legend: DatasetSpec | None = None,
    ) -> None:
        """Read `rows` (a `datasets.Dataset`).

        Args:
            rows: with columns of images.
            image: column of the images.
            labels: column of the label images; None: images only.
            name: how the data set was asked for.
            domain: the domain that the samples carry.
            path: the folder or the repository that they are of, whose files alone they may name; None: any file.
            legend: what the ids of its label images stand for.

        Raises:
            DataError: a column is missing or holds no images.
        """
        self.name, self.domain = name, domain
        self.notes: tuple[str, ...] = ()
        self.categories = () if legend is None else legend.own
        self.colours = {} if legend is None else legend.colours
        self._rows = undecoded(rows, [image] if labels is None else [image, labels.column], name)
        self._image, self._labels, self._path = image, labels, path

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def key(self, index: int) -> str:
        """The number of the row."""
        return f"{index:06d}"

    def __getitem__(self, index: int) -> Sample:
        """Read a row.

        Raises:
            DataError: an image is missing or broken, holds ids that no map names, or sizes differ.
        """
        row, where = self._rows[index], f"{self.name} row {index}"
        photo = image_bytes(row[self._image], f"{where}, {self._image}", self._path)
        image = read_image(f"{where}, {self._image}", photo)
        if self._labels is None:
            return Sample(image=image, domain=self.domain, key=self.key(index))
        column, decoder = self._labels
        labels = decoder.train_ids(f"{where}, {column}", image_bytes(row[column], f"{where}, {column}", self._path))
        labels = upright_labels(labels, image.shape[:2], lambda: orientation_of(photo))
        if labels.shape != image.shape[:2]:
            raise DataError(f"{where}: labels have shape {labels.shape}, the image {image.shape[:2]}; must be equal")
        return Sample(image=image, domain=self.domain, key=self.key(index), labels=labels)


def open_hub(text: str, role: Role, space: LabelSpace | None) -> HuggingFaceReader:
    """Open `PATH[:SPLIT][?OPTIONS]`; a repository is downloaded to the cache of `datasets` if it is not there.

    Raises:
        ConfigError: `datasets` is not installed, an option is unknown, or nothing says what the ids stand for.
        DataError: the data set, the split or a column is not there.
    """
    path, split, options = hub_name(text, PixelHubOptions)
    spec = _spec(Path(path), options, role, text)
    splits = load_splits(path, options.config)
    chosen = split_asked(splits, split, role, path)
    rows = splits[chosen]
    label = options.label or next((name for name in LABEL_COLUMNS if name in rows.features), LABEL_COLUMNS[0])
    labels = None if spec is None or space is None or role == "target" else Labels(label, LabelDecoder.of(spec, space))
    domain = (spec and spec.name) or path.rstrip("/").rpartition("/")[2]
    called = {"name": f"hf:{path}:{chosen}", "domain": domain, "path": path}
    return HuggingFaceReader(rows, options.image, labels, **called, legend=spec)


def hub_name(text: str, kind: type[Options]) -> tuple[str, str, Options]:
    """`PATH[:SPLIT][?OPTIONS]` in its parts.

    Raises:
        ConfigError: an option is unknown.
    """
    path, split, query = hub_parts(text)
    return path, split, parse_row(kind, query, f"hf:{text}")


def hub_parts(text: str) -> tuple[str, str, dict[str, str]]:
    """The same, with the options as they are written."""
    where, _, query = text.partition("?")
    return *split_name(where), dict(parse_qsl(query, keep_blank_values=True))


def undecoded(rows: Any, columns: list[str], where: str) -> Any:
    """Columns of images alone, as files: Pillow as `datasets` uses it would change ids of 16 bits.

    Raises:
        DataError: a column is missing, or holds no images.
    """
    from datasets import Image

    pictures = [key for key, feature in rows.features.items() if isinstance(feature, Image)]
    for column in columns:
        if column not in pictures:
            raise DataError(f"{where}: {unknown('image column', column, pictures)}; choose by ?image= and ?label=")
    rows = rows.select_columns(columns)
    for column in columns:
        rows = rows.cast_column(column, Image(decode=False))
    return rows


def _spec(folder: Path, options: PixelHubOptions, role: Role, text: str) -> DatasetSpec | None:
    """What the ids of its label images stand for; nothing needs to say so for a target."""
    if options.legend is None and (folder / "dataset.yaml").is_file():
        return read_spec(folder)
    if role == "target":
        return None
    if options.legend is None:
        raise ConfigError(
            f"hf:{text}: nothing says what its ids stand for; add ?legend=NAME, e.g. ?legend=cityscapes-train, "
            "or a dataset.yaml to a local folder"
        )
    return parse_row(DatasetSpec, {"legend": options.legend}, f"hf:{text}")


def load_splits(path: str, config: str | None) -> dict[str, Any]:
    """Split -> rows."""
    try:
        import datasets
    except ImportError as error:
        raise ConfigError("data sets by `hf:` need the package `datasets`: pip install 'minorkey[hf]'") from error
    folder = Path(path)
    try:
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            loaded = datasets.load_from_disk(path)
        else:
            loaded = datasets.load_dataset(path, config)
    except Exception as error:  # whatever its many file formats and the network raise
        reason = " ".join(str(error).split()) or repr(error)
        raise DataError(f"hf:{path} cannot be loaded: {reason}") from error
    return dict(loaded) if isinstance(loaded, dict) else {str(loaded.split or "train"): loaded}


def split_asked(splits: dict[str, Any], asked: str, role: Role, path: str) -> str:
    """The split that is asked for, or that a role takes unless one is.

    Raises:
        NoSplit: there is none.
    """
    if not asked:
        asked = next((name for name in SPLITS[role] if name in splits), SPLITS[role][0])
    if asked not in splits:
        raise NoSplit(f"hf:{path}: {unknown('split', asked, splits)}")
    return asked


def image_bytes(cell: dict[str, Any] | None, where: str, path: str | None) -> bytes:
    """The file of an undecoded image; a row may have none, and the file that it names may be gone.

    Args:
        cell: of the row.
        where: named in errors.
        path: the folder or the repository that the row is of. Files elsewhere, but for what the library unpacked or
            downloaded, are not its own. None: it may name any file.

    Raises:
        DataError: there is no image, or no such file of the data set.
    """
    if cell is None or (cell["bytes"] is None and not cell["path"]):
        raise DataError(f"{where}: there is no image")
    if cell["bytes"] is not None:
        return bytes(cell["bytes"])
    if path is not None:
        _check_own(cell["path"], where, path)
    try:
        return regular_bytes(cell["path"])
    except OSError as error:
        raise DataError(f"{where}: cannot read {cell['path']}: {error.strerror or error}") from error


def _check_own(file: str, where: str, path: str) -> None:
    """Raise where a row names a file outside its data set."""
    from datasets import config

    caches = (config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, config.EXTRACTED_DATASETS_PATH)
    roots = [*map(str, caches), HF_HUB_CACHE, *([path, os.path.realpath(path)] if os.path.isdir(path) else [])]
    if not any(Path(os.path.abspath(file)).is_relative_to(os.path.abspath(root)) for root in roots):
        raise DataError(f"{where}: {file} is outside the data set; put the file into its folder")
