"""Many images, large images, and batches of columns."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from weakref import ref

import numpy as np
import pytest
import torch
from PIL import Image

from minorkey.data.transforms import to_tensor
from minorkey.errors import ConfigError, DataError, ImageSizeError, StorageError
from minorkey.runs.batches import BatchPredictor
from minorkey.runs.load import load
from minorkey.runs.made import model_digest
from minorkey.runs.predict import predict_folder
from minorkey.system.lock import locked
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.predictor import Predictor
from minorkey.tasks.protocol import LARGE


@pytest.fixture
def predictor(finished_run) -> Predictor:
    return load(finished_run.path, device="cpu")


@pytest.fixture
def files(tmp_path):
    """Images of two sizes."""
    paths = [tmp_path / "photos" / f"{index}.png" for index in range(5)]
    paths[0].parent.mkdir()
    for index, path in enumerate(paths):
        size = (64, 96, 3) if index == 2 else (32, 48, 3)
        Image.fromarray(np.random.default_rng(index).integers(0, 256, size, dtype=np.uint8)).save(path)
    return paths


@pytest.mark.parametrize("device", ["gpu", "", "cuda:1"])
def test_a_device_that_a_run_has_no_use_for_is_refused(finished_run, device):
    with pytest.raises(ConfigError, match=f"device is '{device}'; expected 'auto', .* or 'cpu'"):
        load(finished_run.path, device=device)


def test_many_images_one_after_the_other(predictor, files):
    found = list(predictor.map(iter(files)))
    assert [path for path, _ in found] == files
    for path, prediction in found:
        assert np.array_equal(prediction.labels, predictor.predict(path).labels)


def test_images_of_one_size_share_a_pass(predictor, files, monkeypatch):
    expected = [prediction.labels for _, prediction in predictor.map(files)]
    passes = []
    monkeypatch.setattr(Predictor, "at_once", lambda self, size: 2)
    predictor.model.register_forward_pre_hook(
        lambda model, args, kwargs: passes.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    found = [prediction.labels for _, prediction in predictor.map(files)]
    assert passes == [2, 1, 2]
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_broken_image_is_raised_or_handed_out(predictor, files):
    files[1].write_text("no image")
    with pytest.raises(DataError, match=r"1\.png: broken image"):
        list(predictor.map(files))
    results = [result for _, result in predictor.map(files, on_error="return")]
    assert [isinstance(result, DataError) for result in results] == [False, True, False, False, False]


def test_bytes_are_normalised_to_the_bit_as_in_the_loader(predictor, files):
    image = np.asarray(Image.open(files[2]))
    expected = to_tensor(image, predictor.mean, predictor.std)
    assert torch.equal(predictor._pixels([image, image])[1], expected)


def test_views_that_torch_cannot_read_are_copied(predictor, files):
    image = np.asarray(Image.open(files[2]))
    image.flags.writeable = False
    expected = predictor.predict(np.ascontiguousarray(image[..., ::-1])).labels
    assert np.array_equal(predictor.predict(image[..., ::-1]).labels, expected)
    predictor.predict(image)


def test_what_does_not_fit_together_is_tried_one_by_one_without_what_failed(predictor, files, monkeypatch):
    image, start, alive = np.asarray(Image.open(files[2])), Predictor.start, []

    class Held:
        """What a pass has on the device."""

    def small(self, images):
        held = Held()
        alive.append(ref(held))
        assert sum(each() is not None for each in alive) == 1
        if len(images) > 1:
            raise torch.OutOfMemoryError("too much")
        return start(self, images)

    monkeypatch.setattr(Predictor, "start", small)
    assert [one().labels.shape for one in predictor._tried([image, image])] == [image.shape[:2]] * 2


@pytest.fixture
def one_too_large(files, monkeypatch):
    """A network that takes no image as large as one of the files."""
    start = Predictor.start

    def small(self, images):
        if any(len(image) == 64 for image in images):
            raise ImageSizeError("an image of 96x64 is too large")
        return start(self, images)

    monkeypatch.setattr(Predictor, "start", small)


def test_an_image_that_does_not_fit_the_network_is_named_and_passed_over(
    finished_run, predictor, files, one_too_large, tmp_path, console
):
    results = [result for _, result in predictor.map(files, on_error="return")]
    assert [isinstance(result, ImageSizeError) for result in results] == [False, False, True, False, False]
    with pytest.raises(ImageSizeError, match="96x64 is too large"):
        list(predictor.map(files))
    done = predict_folder(finished_run.path, str(tmp_path / "photos"), tmp_path / "out", console=console)
    assert done.written == 4
    assert done.problems == [f"{files[2]}: an image of 96x64 is too large"]


def test_an_image_of_many_crops_is_looked_at_by_windows(predictor):
    predictor.crop = (32, 48)
    small, large = (32 * LARGE, 48), (32 * LARGE + 1, 48)
    assert (predictor.tile(small), predictor.tile(large)) == (None, (32, 48))
    image = np.random.default_rng(0).integers(0, 256, (*large, 3), dtype=np.uint8)
    labels = predictor.predict(image).labels
    assert np.array_equal(labels, predictor.predict(image, probabilities=True).labels)
    windows = predictor.protocol.model_copy(update={"window": (32, 48), "stride": (21, 32)})
    predictor.protocol = windows
    assert np.array_equal(labels, predictor.predict(image, probabilities=True).labels)
    predictor.protocol = windows.model_copy(update={"window": None, "stride": None, "resize": 96})
    assert predictor.tile(large) is None


def test_windows_that_nobody_asked_for_are_said_once(finished_run, files, tmp_path, monkeypatch, console):
    monkeypatch.setattr("minorkey.tasks.predictor.LARGE", 0.01)
    predict_folder(finished_run.path, str(tmp_path / "photos"), tmp_path / "out", console=console)
    assert console.file.getvalue().count("looked at by windows") == 1


def test_overlays_are_jpeg_or_none(finished_run, files, tmp_path, console):
    def predict(name, **options):
        done = predict_folder(finished_run.path, str(tmp_path / "photos"), tmp_path / name, console=console, **options)
        return done.written, done.skipped

    assert predict("plain", overlays=False) == (5, 0)
    assert not (tmp_path / "plain" / "overlays").exists()
    assert predict("plain", overlays=False) == (0, 5)
    assert predict("plain") == (5, 0)
    overlays = tmp_path / "plain" / "overlays"
    assert {path.name for path in overlays.iterdir()} == {f"{index}.jpg" for index in range(5)}
    assert Image.open(overlays / "2.jpg").size == (96, 64)


def test_weights_beside_a_deployed_file_are_part_of_its_name(predictor, tmp_path):
    file, weights = tmp_path / "model.onnx", tmp_path / "model.onnx.data"
    file.write_bytes(b"graph")
    digests = [model_digest(RunFolder(file), predictor)]
    for content in (b"weights", b"others"):
        weights.write_bytes(content)
        digests.append(model_digest(RunFolder(file), predictor))
    assert len(set(digests)) == 3


def test_where_nothing_can_be_written(finished_run, files, tmp_path, console):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "overlays").write_text("a file")
    with pytest.raises(StorageError, match=r"cannot write '.*overlays"):
        predict_folder(finished_run.path, str(tmp_path / "photos"), tmp_path / "out", console=console)


def test_two_jobs_write_a_folder_but_not_one_share_of_it(finished_run, files, tmp_path, console):
    photos, out = str(tmp_path / "photos"), tmp_path / "out"
    with (
        ThreadPoolExecutor(1) as elsewhere,
        locked(out / ".made" / "1-of-2"),
    ):
        share = partial(predict_folder, finished_run.path, photos, out, console=console)
        assert elsewhere.submit(share, shard=(2, 2)).result().written == 2
        with pytest.raises(StorageError, match="1-of-2' is being written to"):
            elsewhere.submit(share, shard=(1, 2)).result()
    assert predict_folder(finished_run.path, photos, out, shard=(1, 2), console=console).written == 3


def test_a_batch_of_columns(finished_run, predictor, files):
    function = BatchPredictor(finished_run.path, device="cpu")
    again = pickle.loads(pickle.dumps(function))
    images = np.stack([np.asarray(Image.open(path)) for path in files[:2]])
    batch = again({"image": images, "name": np.array(["a", "b"])})
    assert batch["name"].tolist() == ["a", "b"]
    assert batch["labels"].shape == (2, 32, 48)
    assert np.array_equal(batch["labels"][1], predictor.predict(files[1]).labels)
    model = again.predictor.model
    mixed = again({"image": [str(path) for path in files]})["labels"]
    assert again.predictor.model is model
    assert len(pickle.dumps(again)) < 1000  # loaded or not, the model stays here
    assert [labels.shape for labels in mixed] == [(64, 96) if index == 2 else (32, 48) for index in range(5)]


def test_columns_that_there_are_not(finished_run, files):
    batch = {"image": [str(files[0])]}
    with pytest.raises(ConfigError, match="unknown attribute of a prediction 'label'; did you mean 'labels'"):
        BatchPredictor(finished_run.path, columns=["label"], device="cpu")(batch)
    with pytest.raises(ConfigError, match=r"columns is a list of names, got 'labels'; write columns=\['labels'\]"):
        BatchPredictor(finished_run.path, columns="labels")
    with pytest.raises(ConfigError, match="unknown column of the batch 'image'. Known: path"):
        BatchPredictor(finished_run.path, device="cpu")({"path": batch["image"]})
    assert BatchPredictor(finished_run.path, device="cpu")(batch)["labels"].shape == (1, 32, 48)


def test_many_images_are_asked_for_as_many(predictor, files):
    image = np.zeros((32, 48, 3), np.uint8)
    for one in (str(files[0]), image, image[..., 0]):
        with pytest.raises(ConfigError, match="map takes many images, and got one; give a list of images"):
            predictor.map(one)
    with pytest.raises(ConfigError, match="map: images is .*; expected Iterable"):
        predictor.map(files[0])
    with pytest.raises(ConfigError, match="map: on_error is 'riase'"):
        predictor.map(files, on_error="riase")
    assert len(list(predictor.map(np.stack([image, image])))) == 2


def test_a_cpu_takes_small_images_together_and_large_ones_one_by_one(predictor):
    assert predictor.device.type == "cpu"
    sizes = [(128, 256), (256, 256), (512, 256), (1024, 2048)]
    whole = replace(predictor, crop=(512, 512))
    assert [whole.at_once(size) for size in sizes] == [4, 2, 1, 1]
    assert replace(whole, protocol=predictor.protocol.model_copy(update={"resize": 256})).at_once((512, 1024)) == 4
    assert whole.at_once(None) == 1
