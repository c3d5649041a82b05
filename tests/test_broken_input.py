"""Bytes and values from outside: whatever comes, what is raised is one line that names the file and the place."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import minorkey
from minorkey.config import load_config, parse_overrides, resolve
from minorkey.data.given import as_rgb
from minorkey.data.images import read_image
from minorkey.data.polygons import read_polygons
from minorkey.data.readers.boxes.annotations import SPLIT_FILES
from minorkey.data.readers.boxes.voc import read_voc
from minorkey.data.readers.kinds import read_box_spec, read_category_spec, read_spec
from minorkey.errors import InternalError, MemoryLimitError, MinorkeyError, StorageError
from minorkey.evaluation.evidence_files import read_places
from minorkey.evaluation.scores import ScoreTable, TrainingCost
from minorkey.export.run import check_replaceable
from minorkey.labels import label_space
from minorkey.models.backbone import load_backbone
from minorkey.models.options import BackboneOptions
from minorkey.reporting.runs import read_log
from minorkey.spectrum.knockout.knockout import knockout
from minorkey.system.reading import json_of, xml_of, yaml_of
from minorkey.system.run_folder import RunFolder
from minorkey.system.unforeseen import one_line_of
from minorkey.tasks.prediction import read_saved
from minorkey.training.checkpoint import load_checkpoint
from minorkey.training.log import trim_log

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
"""4 * 10^10 values in 600 bytes."""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 5000, "line 1: it is nested more than"),
        (BOMB, "line 6: more than .* as aliases repeat them"),
        ("a: &a [*a]", "line 1: an alias stands within"),
        ("a: 1\nb: 2\na: 3", "line 3: key 'a' stands twice"),
        ("{1: a, 0x1: b}", "line 1: key 1 stands twice"),
        ("\na: " + "9" * 5000, "line 2: .* is no int"),
        ("a: 99999999999999999999", "line 1: .* too large"),
        ("a: .nan", "line 1: '.nan' is no finite number"),
        ("a: -.inf", "line 1: '-.inf' is no finite number"),
        ("a: 2020-13-45", "line 1: .* is no timestamp"),
        ("!!int ''", "line 1: '' is no int"),
        ("!!bool x", "line 1: 'x' is no bool"),
        ('a: "\\0"', "line 1: .* holds NUL"),
        ('a: "\\ud800"', "line 1: .*(half a character|invalid Unicode)"),
        ("? [1]\n: 2", "line 1: found unhashable key"),
        ("!!python/object/apply:os.system [x]", "line 1: could not determine a constructor"),
    ],
)
def test_yaml_that_is_no_configuration(text, reason):
    with pytest.raises(ValueError, match=f"not valid YAML at {reason}"):
        yaml_of(text)


def test_yaml_of_bytes_is_utf_8_of_a_bounded_size():
    assert yaml_of("\ufeffa: ä".encode()) == {"a": "ä"}
    with pytest.raises(ValueError, match="invalid|decode"):
        yaml_of(b"a: \xff")
    with pytest.raises(ValueError, match="bytes, at most"):
        yaml_of(b" " * (2**24 + 1))


def test_yaml_merges_mappings():
    assert yaml_of("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, x: 3}")["c"] == {"x": 3, "y": 2}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "digits"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": 1, "a": 2}', "key 'a' stands twice"),
        (b'["\\ud800"]', "half a character"),
        (b'["\\u0000"]', "NUL"),
        (b"\xff", "decode|invalid"),
        (b"{", "line 1 column 2"),
    ],
)
def test_json_that_is_none(content, reason):
    with pytest.raises(ValueError, match=reason):
        json_of(content)


def test_json_in_any_encoding_of_unicode():
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert json_of('["ä", "\\ud83d\\ude00"]'.encode(encoding)) == ["ä", "\U0001f600"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no element found: line 1"),
        (b"<a>\n<b></a>", "mismatched tag: line 2"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declares the entity 'b'"),
        (b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "declares the entity 'b'"),
        (b'<?xml version="1.0" encoding="none"?><a/>', "encoding is unknown"),
    ],
)
def test_xml_that_is_none(content, reason):
    with pytest.raises(ValueError, match=reason):
        xml_of(content)


BROKEN = {
    "empty": b"",
    "cut": b'{"a": [1, {"b"',
    "binary": bytes(range(256)),
    "deep": b"[" * 100_000,
    "deep mapping": b'{"a": ' * 50_000,
    "digits": b'{"images": ' + b"9" * 5000 + b"}",
    "list": b"[1, [], {}, null]",
    "null": b"null",
    "number": b"7",
    "text": b'"x"',
    "other keys": b'{"a": {"b": [null]}}',
}
"""By what is wrong with them; none is a file of ours."""
FILES: dict[str, Callable[[Path], object]] = {
    "state.json": lambda file: load_checkpoint(file.parent),
    "training.json": TrainingCost.read,
    "metrics.json": ScoreTable.read,
    "samples.json": lambda file: read_places(RunFolder(file.parent.parent)),
    "minorkey_export.json": lambda file: check_replaceable(file.parent),
    "space.yaml": lambda file: label_space(str(file)),
    "mine.yaml": resolve,
    "config.yaml": load_config,
    "split.json": lambda file: SPLIT_FILES["coco"](file.read_bytes(), str(file)),
    "frames.json": lambda file: SPLIT_FILES["bdd100k"](b'{"frames":' + file.read_bytes() + b"}", str(file)),
    "polygons.json": lambda file: read_polygons(file.read_bytes(), {"unlabeled": 0}, str(file)),
    "boxes.xml": lambda file: read_voc(file.read_bytes(), str(file), {}, (8, 8)),
}
"""Files with what reads them."""


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_is_one_line_that_names_it(name, kind, tmp_path):
    file = tmp_path / "figures" / name
    file.parent.mkdir()
    file.write_bytes(BROKEN[kind])
    with pytest.raises(MinorkeyError) as caught:
        FILES[name](file)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    assert name in message or file.parent.name in message or name in ("mine.yaml", "config.yaml")


@pytest.mark.parametrize("read", [read_spec, read_box_spec, read_category_spec])
@pytest.mark.parametrize("value", ["[]", "1", "null", "{boxes: []}", "{boxes: {}}", "{ids: {a: b}}", "{ids: [[1]]}"])
def test_a_broken_dataset_yaml(read, value, tmp_path):
    (tmp_path / "dataset.yaml").write_text(value)
    with pytest.raises(MinorkeyError, match=r"dataset\.yaml"):
        read(tmp_path)


@pytest.mark.parametrize("line", ["[1]", "{", "7", "{}", '{"step": "x"}', '{"step": null}', '{"step": 1, "step": 2}'])
def test_a_damaged_line_of_a_log_is_named_and_nothing_is_dropped(line, tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    before = log.read_bytes()
    with pytest.raises(StorageError, match=r"log\.jsonl': (line|record) 2"):
        trim_log(log, 1)
    assert log.read_bytes() == before


def test_a_torn_last_line_of_a_log_is_what_a_killed_run_leaves(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1}\n{"step": 2}\n{"step": 3, "lo')
    assert [record["step"] for record in read_log(log)] == [1, 2]
    trim_log(log, 2)
    assert log.read_text() == '{"step": 1}\n{"step": 2}\n'


@pytest.mark.parametrize("content", [b"", b"[", b"[" * 100_000, b"\xff"])
def test_a_broken_prediction(content, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(StorageError, match=r"a\.json': .*predict again"):
        read_saved(tmp_path / "a.json")


@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size", "patch_size", "model_type"])
@pytest.mark.parametrize("value", [None, "x", [], -1, 10**30])
def test_a_backbone_with_a_broken_config(key, value, make_backbone):
    folder = make_backbone("broken")
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {key: value}))
    with pytest.raises(MinorkeyError, match="broken"):
        load_backbone(BackboneOptions(name=str(folder)))


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("training.lr=nan", "training.lr"),
        ("training.lr=1e309", "training.lr"),
        ("training.lr=.inf", "training.lr"),
        (f"training.steps={10**30}", "training.steps"),
        (f"training.lr={'9' * 5000}", "training.lr"),
        ("transform.crop=[nan, 1]", "transform.crop"),
        ("training=[]", "training"),
        ("head={name: [1]}", "head"),
        ("teacher={name: {a: 1}}", "teacher"),
        ("task=[1]", "task"),
        ("source={1: 2}", "source"),
        ('label_space="\\0"', "label_space"),
        (f"seed={'[' * 200}", "seed"),
        (f"regime_options={BOMB}", "regime_options"),
    ],
)
def test_values_on_the_command_line(override, place):
    with pytest.raises(MinorkeyError, match=place) as caught:
        resolve("demo", parse_overrides([override]))
    assert len(str(caught.value)) < 1000


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(4, 4)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: minorkey.load(None), "load: run is None; expected str | Path"),
        (lambda: minorkey.load(3), "load: run is 3"),
        (lambda: minorkey.evaluate([]), "evaluate: run is"),
        (lambda: minorkey.resolve(3), "resolve: preset is 3"),
        (lambda: minorkey.resolve("demo", ["a"]), "resolve: overrides is"),
        (lambda: minorkey.resolve("demo", {"training": {"lr": float("nan")}}), "training.lr is nan"),
        (lambda: minorkey.resolve("demo", {"seed": 10**4000}), "seed is"),
        (lambda: minorkey.train("demo", out=None), "train: out is None"),
        (lambda: minorkey.report(None), "report: runs is None"),
        (lambda: minorkey.survey("x", rank="8"), "survey: rank is '8'; expected int"),
        (lambda: knockout("x", which=["middle"]), r"knockout: which is \['middle'\]; expected "),
        (lambda: minorkey.SoMA(name="lora"), "SoMA is named soma; for another method"),
        (lambda: minorkey.export_run("x", 3), "export_run: to is 3"),
        (lambda: label_space(None), "label_space: name is None"),
        (lambda: minorkey.attach(None), "got None; expected a torch module"),
        (lambda: minorkey.attach(Block(), 3), "method is 3"),
        (lambda: minorkey.fold("x"), "got 'x'; expected the torch module"),
        (lambda: as_rgb(None), r"expected \(H, W, 3\) uint8 RGB"),
        (lambda: as_rgb(np.zeros((0, 8, 3), np.uint8)), "at least one pixel"),
        (lambda: as_rgb([[1], [1, 2]]), "no array"),
        (lambda: as_rgb(np.full((8, 8, 3), None)), "type object"),
        (lambda: as_rgb(torch.zeros(8, 8, 3, device="meta")), "no array"),
    ],
)
def test_arguments_of_calls(call, reason):
    with pytest.raises(MinorkeyError, match=reason):
        call()


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError("Unable to allocate 9 TiB"), 2, "not enough memory .*9 TiB.*ask for less"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 2, "not enough memory"),
        (RecursionError("maximum recursion depth exceeded"), 1, "fault of minorkey; --debug"),
        (ZeroDivisionError("division by zero"), 1, "ZeroDivisionError: division by zero .*fault of minorkey"),
        (PermissionError(13, "Permission denied", "/x"), 2, "'/x': Permission denied"),
        (KeyError("a\nb"), 1, "fault of minorkey"),
    ],
)
def test_what_nobody_foresaw_is_one_line_too(error, code, said, command, monkeypatch):
    monkeypatch.setattr("minorkey.runs.api.resume", lambda run: _raise(error))
    found, printed = command("train", "--resume", "anything")
    assert found == code
    assert "Traceback" not in printed
    (line,) = printed.splitlines()
    assert line.startswith("minorkey: ")
    with pytest.raises(MinorkeyError, match=said):
        raise one_line_of(error)
    assert "Traceback" in command("train", "--resume", "anything", "--debug")[1]


def test_a_panic_of_a_library_in_rust_is_no_way_out(command, monkeypatch):
    class PanicException(BaseException):
        pass

    monkeypatch.setattr("minorkey.runs.api.resume", lambda run: _raise(PanicException("pointer is null")))
    code, printed = command("train", "--resume", "anything")
    assert code == 1
    assert "PanicException: pointer is null" in printed


def test_an_image_that_says_it_is_huge_takes_no_memory(tmp_path):
    file = tmp_path / "a.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file)
    content = bytearray(file.read_bytes())
    content[16:24] = b"\x10\0\0\0\x10\0\0\0"  # 268435456 x 268435456
    file.write_bytes(content)
    with pytest.raises(MinorkeyError, match=r"a\.png"):
        read_image(file)


def test_faults_are_told_from_what_a_user_can_mend():
    assert isinstance(one_line_of(MemoryError()), MemoryLimitError)
    assert isinstance(one_line_of(IndexError()), InternalError)
    mine = StorageError("x")
    assert one_line_of(mine) is mine
