"""Frames of clips as the unlabelled samples of a target."""

import pickle
from fractions import Fraction

import numpy as np
import pytest
from clips import begin_between_key_frames, cut_between_frames, decoded, number, picture, write_clip
from PIL import Image

from minorkey.data.raw_cache import RawCache
from minorkey.data.readers import open_datasets
from minorkey.errors import ConfigError, DataError
from minorkey.labels import label_space


def open_target(spec, **options):
    return open_datasets(str(spec), role="target", label_space=label_space("street7"), **options)[0]


def keys(reader):
    return [reader.key(index) for index in range(len(reader))]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mkv", {}),
        ("a.ts", {}),
        ("a.flv", {}),
        ("a.avi", {"codec": "mpeg4"}),
        ("b.avi", {"codec": "mpeg4", "b_frames": 2}),  # no key frame is found before the first ones
        ("a.mpg", {"codec": "mpeg1video", "rate": 25}),  # its times change with a seek
        ("a.webm", {"codec": "libvpx-vp9"}),
    ],
)
def test_any_frame_in_any_order(tmp_path, name, options):
    file = write_clip(tmp_path / name, 30, **options)
    reader, expected = pickle.loads(pickle.dumps(open_target(f"{file}?every=1"))), decoded(file)
    for index in (29, 3, 7, 8, 9, 0, 23, 16, 15):
        sample = reader[index]
        assert (sample.key, sample.domain, sample.labels) == (f"{file.stem}/{index:06d}", file.stem, None)
        assert np.array_equal(sample.image, expected[index][1]), index


def test_a_folder_of_clips_gives_a_frame_a_second(tmp_path):
    write_clip(tmp_path / "clips" / "one.mp4", 25)
    write_clip(tmp_path / "clips" / "day" / "two.mkv", 12, rate=5)
    reader = open_target(tmp_path / "clips")
    assert keys(reader) == [
        "day/two/000000",
        "day/two/000005",
        "day/two/000010",
        "one/000000",
        "one/000010",
        "one/000020",
    ]
    assert reader.domain == "clips"
    assert reader.notes == ("6 of 37 frames of 2 clips are taken, one a second; ?every=N takes one of N",)
    assert [number(reader[index].image) for index in range(6)] == [0, 5, 10, 0, 10, 20]
    assert keys(open_target(f"{tmp_path}/clips/*.mp4?every=12")) == ["one/000000", "one/000012", "one/000024"]
    assert open_target(f"{tmp_path}/clips?every=12+fog@3").domain == "clips+fog@3"


def test_times_that_do_not_tell_frames_apart_are_counted(tmp_path):
    first, second = write_clip(tmp_path / "a.ts"), write_clip(tmp_path / "b.ts")
    first.write_bytes(first.read_bytes() + second.read_bytes())
    reader = open_target(f"{first}?every=7")
    assert keys(reader) == [f"a/{index:06d}" for index in range(0, 40, 7)]
    assert [number(reader[index].image) for index in (5, 0, 2)] == [35 - 20, 0, 14]


def test_a_recording_that_begins_between_key_frames(tmp_path):
    reader = open_target(f"{begin_between_key_frames(write_clip(tmp_path / 'a.ts', 30))}?every=4")
    numbers = [number(reader[index].image) for index in reversed(range(len(reader)))]
    assert numbers == sorted(numbers, reverse=True)
    assert 0 < numbers[-1] <= 16 < numbers[0]


def test_uneven_times(tmp_path):
    file = write_clip(tmp_path / "a.mkv", times=[Fraction(index * index, 100) for index in range(20)])
    reader = open_target(f"{file}?every=1")
    assert [number(reader[index].image) for index in (13, 2, 19)] == [13, 2, 19]


def test_a_clip_that_ends_early_gives_what_is_there(tmp_path):
    file = cut_between_frames(write_clip(tmp_path / "a.mp4", 30, movflags="faststart"), 16)
    reader = open_target(f"{file}?every=1")
    assert len(reader) == 16
    (_, problem) = reader.notes
    assert "a.mp4: ends early, after frame 15 at 1.5 of 3.0 s" in problem
    assert problem.endswith("; the frames before are taken")
    assert number(reader[12].image) == 12


def test_pixels_are_kept_as_those_of_images_are(tmp_path, monkeypatch):
    file, cache = write_clip(tmp_path / "a.mp4"), RawCache(tmp_path / "cache")
    first = open_target(file, cache=cache)[1].image
    monkeypatch.setattr("minorkey.data.readers.clips.frame_at", None)
    assert np.array_equal(open_target(file, cache=cache)[1].image, first)
    monkeypatch.undo()
    write_clip(file, 20, size=(64, 32))
    assert open_target(file, cache=cache)[1].image.shape == (64, 32, 3)


def test_clips_beside_images_are_passed_over_and_said(tmp_path):
    write_clip(tmp_path / "both" / "a.mp4", 4)
    Image.fromarray(picture(0)).save(tmp_path / "both" / "b.png")
    reader = open_target(tmp_path / "both")
    assert (keys(reader), reader.notes) == (["b"], ("1 clip beside the images passed over, as a.mp4",))


def test_what_cannot_be_read(tmp_path):
    for name in ("clips/a.mp4", "clips/a.mkv"):
        write_clip(tmp_path / name, 2)
    with pytest.raises(DataError, match=r"a\.mkv and a\.mp4 share the name 'a'"):
        open_target(tmp_path / "clips")
    with pytest.raises(ConfigError, match=r"clips\?evry=3: unknown key 'evry'; did you mean 'every'"):
        open_target(tmp_path / "clips?evry=3")
    with pytest.raises(ConfigError, match=r"clips\?every=0: every: Input should be greater than or equal to 1"):
        open_target(tmp_path / "clips?every=0")
    (tmp_path / "clips" / "a.mkv").write_text("no clip")
    with pytest.raises(DataError, match=r"a\.mkv: is no clip that can be read"):
        open_target(tmp_path / "clips" / "a.mkv")
    with pytest.raises(DataError, match="holds or matches no clips"):
        open_target(f"{tmp_path}/none/*.mp4?every=2")
