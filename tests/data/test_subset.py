import pytest
from pydantic import ValidationError

from minorkey.data.readers import HeldOut, SourceOptions, Subset, WorldOptions, choose, open_datasets, parted
from minorkey.errors import DataError
from minorkey.labels import label_space


def open_world(count: int = 32):
    options = WorldOptions(train_count=count, size=(64, 32))
    return open_datasets("world", role="source", label_space=label_space("street7"), options=options)[0]


def keys(reader) -> list[str]:
    return [reader.key(index) for index in range(len(reader))]


def test_subset_is_read_through():
    reader = open_world()
    part = Subset(reader, [5, 2])
    assert (part.name, part.domain, len(part)) == (reader.name, reader.domain, 2)
    assert keys(part) == [reader.key(5), reader.key(2)]
    assert part[0].key == reader.key(5)
    assert part.notes == ("2 of 32 images",)
    with pytest.raises(IndexError):
        part[2]


@pytest.mark.parametrize(("fraction", "count"), [("1/16", 2), (0.5, 16), ("0.1", 4), (1, 32), ("1/1000", 1)])
def test_fraction_is_rounded_up(fraction, count):
    assert len(choose(open_world(), fraction=fraction)) == count


def test_a_fraction_is_what_it_is_written_as():
    reader = open_world(20)  # of which the double next to 0.1 is above two
    for fraction in ("0.1", 0.1):
        assert len(choose(reader, fraction=fraction)) == 2
        assert len(parted(reader, HeldOut(fraction=fraction))[1]) == 2


def test_fraction_is_drawn_by_the_seed():
    reader = open_world()
    first = keys(choose(reader, fraction="1/4"))
    assert first == keys(choose(reader, fraction="1/4")) == sorted(first)
    assert set(first) < set(keys(choose(reader, fraction="1/2")))
    others = [keys(choose(reader, fraction="1/4", seed=seed)) for seed in range(1, 5)]
    assert first not in others
    assert first != keys(reader)[:8]


def test_all_of_it():
    reader = open_world()
    assert choose(reader) is reader


def test_list_of_keys(tmp_path):
    reader = open_world()
    file = tmp_path / "few.txt"
    file.write_text(f"# mine\n{reader.key(7)}\n\n {reader.key(3)} \n{reader.key(7)}\n")
    assert keys(choose(reader, files=file)) == [reader.key(7), reader.key(3)]


def test_wrong_lists(tmp_path):
    reader, file = open_world(), tmp_path / "few.txt"
    with pytest.raises(DataError, match=r"cannot read the list .*few\.txt: .*No such file"):
        choose(reader, files=file)
    file.write_text("# nothing\n")
    with pytest.raises(DataError, match=r"few\.txt names no image; write one key per line, e\.g\. 0-00000"):
        choose(reader, files=file)
    file.write_text("0-0000x\n")
    with pytest.raises(
        DataError, match=r"few\.txt: unknown key '0-0000x'; did you mean '0-000\d\d'\? \(world:clear\)$"
    ):
        choose(reader, files=file)


def test_source_options():
    assert SourceOptions.model_validate("gta5") == SourceOptions(data="gta5")
    full = SourceOptions.model_validate({"data": "cityscapes:train", "weight": 2, "fraction": "1/16"})
    assert (full.data, full.weight, full.fraction, full.files) == ("cityscapes:train", 2.0, "1/16", None)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"data": "a", "fraction": "1/0"}, r"fraction '1/0' is not above 0 to 1; write e\.g\. 0\.5 or 1/16"),
        ({"data": "a", "fraction": 1.5}, r"fraction 1\.5 is not above 0 to 1"),
        ({"data": "a", "fraction": "half"}, r"fraction 'half' is not above 0"),
        ({"data": "a", "fraction": 0.5, "files": "x"}, r"give either `fraction` or `files`"),
        ({"data": "a", "weight": 0}, r"greater than 0"),
        ({"weight": 1}, r"Field required"),
    ],
)
def test_wrong_source_options(value, message):
    with pytest.raises(ValidationError, match=message):
        SourceOptions.model_validate(value)
