"""Classified images in the format of Hugging Face `datasets`: columns of images, classes and perhaps domains."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from minorkey.data.images import read_image
from minorkey.data.readers.categories.reader import drawn_part
from minorkey.data.readers.categories.spec import DRAWN, CategorySpec
from minorkey.data.readers.hf import HubOptions, hub_name, image_bytes, load_splits, split_asked, undecoded
from minorkey.data.readers.reader import Role
from minorkey.data.sample import Sample
from minorkey.errors import ConfigError, DataError, unknown
from minorkey.labels import LabelSpace, plain_name


class HubCategoryOptions(HubOptions):
    """What may follow the `?` where images are classified, e.g. `?label=category&domain=domain`."""

    label: str = "label"  # column of the classes, by name or as a ClassLabel
    domain: str | None = None  # column of the domains; all images are one where absent
    only: str | None = None  # the one value of that column that is taken


class HubCategoryReader:
    """Some rows of a `datasets.Dataset`, of one domain.

    Args:
        rows: with the column of images undecoded.
        image: its name.
        places: the rows that are meant.
        domain_places: all rows of their domain.
        titles: the class of every row.
        train_ids: name of a class -> its train id; None: classes are left alone.
        name: how the data set was asked for.
        domain: the domain that the samples carry.
        path: the folder or the repository that the rows are of, whose files alone they may name; None: any file.
    """

    def __init__(
        self,
        rows: Any,
        image: str,
        places: Sequence[int],
        domain_places: Sequence[int],
        titles: Sequence[str],
        train_ids: dict[str, int] | None,
        *,
        name: str,
        domain: str,
        path: str | None = None,
    ) -> None:
        self.name, self.domain, self.notes = name, domain, ()
        self._rows, self._image, self._places, self._path = rows, image, tuple(places), path
        self._titles, self._train_ids = titles, train_ids
        self.categories = tuple(sorted({titles[place] for place in domain_places}))

    def __len__(self) -> int:
        """Number of images."""
        return len(self._places)

    def key(self, index: int) -> str:
        """The class and the number of the row."""
        place = self._places[index]
        return f"{self._titles[place]}/{place:06d}"

    def __getitem__(self, index: int) -> Sample:
        """Read an image.

        Raises:
            DataError: it is missing or broken.
        """
        place = self._places[index]
        where = f"{self.name} row {place}, {self._image}"
        image = read_image(where, image_bytes(self._rows[place][self._image], where, self._path))
        category = None if self._train_ids is None else self._train_ids[self._titles[place]]
        return Sample(image=image, domain=self.domain, key=self.key(index), category=category)


def open_category_hub(text: str, role: Role, space: LabelSpace | None, seed: int) -> list[HubCategoryReader]:
    """Open `PATH[:SPLIT][?OPTIONS]`, a reader for each domain; splits are drawn where there is `train` alone.

    Raises:
        ConfigError: `datasets` is not installed, an option is unknown, or the label space has no place for a class.
        DataError: the data set, the split or a column is not there.
    """
    path, asked, options = hub_name(text, HubCategoryOptions)
    splits = load_splits(path, options.config)
    drawn = splits.keys() == {"train"} and (asked or "train") in DRAWN
    split = (
        (asked or CategorySpec(images="{category}/{key}.*").default_split(role) or "")
        if drawn
        else split_asked(splits, asked, role, path)
    )
    rows = splits["train" if drawn else split]
    titles = _column(rows, options.label, f"hf:{path}", "unlabelled" if role == "target" else None)
    domains = [""] * len(titles) if options.domain is None else _column(rows, options.domain, f"hf:{path}")
    train_ids = None if space is None or role == "target" else _train_ids(space, set(titles), f"hf:{path}")
    images = undecoded(rows, [options.image], f"hf:{path}")
    base = path.rstrip("/").rpartition("/")[2]
    readers = []
    for domain in _taken(domains, options, f"hf:{path}"):
        places = [place for place, value in enumerate(domains) if value == domain]
        chosen = [places[i] for i in drawn_part(len(places), split, 0.2, seed)] if drawn else places
        title = f"{base}-{domain}" if domain else base
        called = {"name": f"hf:{path}:{split}", "domain": title, "path": path}
        readers.append(HubCategoryReader(images, options.image, chosen, places, titles, train_ids, **called))
    return readers


def each_hub_domain(text: str) -> list[str]:
    """The domains of `PATH[:SPLIT][?OPTIONS]`, each as a name of that form.

    Raises:
        ConfigError: `datasets` is not installed, or an option is unknown.
        DataError: the data set, the split or the column is not there.
    """
    path, asked, options = hub_name(text, HubCategoryOptions)
    if options.domain is None or options.only is not None:
        return [text]
    splits = load_splits(path, options.config)
    rows = splits.values() if asked not in splits else [splits[asked]]
    found = {value for each in rows for value in _column(each, options.domain, f"hf:{path}")}
    return [f"{text}&only={quote(value, safe='')}" for value in sorted(found)]


def _taken(domains: Sequence[str], options: HubCategoryOptions, where: str) -> list[str]:
    """The domains that are asked for, of those of all rows."""
    found = sorted(set(domains))
    if options.only is None:
        return found
    if options.domain is None:
        raise ConfigError(f"{where}: 'only' takes one domain; name their column too, e.g. ?domain=style&only=photo")
    if options.only not in found:
        raise DataError(f"{where}: {unknown('domain', options.only, found)}")
    return [options.only]


def _column(rows: Any, name: str, where: str, missing: str | None = None) -> list[str]:
    """A column of names, or of numbers that a ClassLabel has names for; -1 is how a row says that it has none.

    Raises:
        DataError: there is no such column, or a row has no value, and nothing is `missing` called.
    """
    if name not in rows.features:
        raise DataError(f"{where}: {unknown('column', name, rows.features)}; choose by ?label= and ?domain=")
    names = getattr(rows.features[name], "names", None)
    found = [_named(value, names) for value in rows[name]]
    if missing is None and None in found:
        row = found.index(None)
        raise DataError(f"{where}: row {row} has no {name}; leave it out, or choose a split whose rows have one")
    return [missing or "" if value is None else value for value in found]


def _named(value: Any, names: Sequence[str] | None) -> str | None:
    if value is None or names is None:
        return None if value is None else str(value)
    return names[value] if 0 <= value < len(names) else None


def _train_ids(space: LabelSpace, titles: set[str], where: str) -> dict[str, int]:
    known = {plain_name(name): place for place, name in enumerate(space.classes)}
    if strange := sorted(title for title in titles if plain_name(title) not in known):
        raise ConfigError(
            f"{where}: label space '{space.name}' has no place for class '{strange[0]}'; choose one that has"
        )
    return {title: known[plain_name(title)] for title in titles}
