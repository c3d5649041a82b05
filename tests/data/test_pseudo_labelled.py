import pickle

import numpy as np
import pytest
from PIL import Image

from minorkey.data.readers import PseudoLabelled, label_folders, pseudo_label_file
from minorkey.data.readers.images import ImageReader
from minorkey.data.readers.pseudo_labelled import seal_labels, sealed_labels, unseal_removed
from minorkey.errors import DataError, StorageError
from minorkey.system.storage import sha256_of

LABELS = np.array([[0, 1, 255], [2, 2, 0]], np.uint8)


@pytest.fixture
def target(tmp_path):
    """A reader of two images of 3x2, and a folder with pseudo-labels of the second."""
    (tmp_path / "frames" / "clip").mkdir(parents=True)
    for name in ("a", "clip/b"):
        Image.new("RGB", (3, 2), (9, 8, 7)).save(tmp_path / "frames" / f"{name}.png")
    file = pseudo_label_file(tmp_path / "pseudo", "clip/b")
    file.parent.mkdir(parents=True)
    Image.fromarray(LABELS).save(file)
    return ImageReader(str(tmp_path / "frames")), tmp_path / "pseudo"


def test_labels_are_those_of_the_folder(target):
    reader, folder = target
    labelled = pickle.loads(pickle.dumps(PseudoLabelled(reader, folder, classes=3)))
    assert (labelled.name, labelled.domain, labelled.notes, len(labelled), labelled.key(1)) == (
        *(reader.name, reader.domain, reader.notes, 2, "clip/b"),
    )
    sample = labelled[1]
    assert sample.labels.dtype == np.uint8
    np.testing.assert_array_equal(sample.labels, LABELS)
    np.testing.assert_array_equal(sample.image, reader[1].image)


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (None, "missing or broken"),
        (np.zeros((3, 2), np.uint8), "2x3 for an image of 3x2"),
        (np.full((2, 3), 3, np.uint8), "not of 3 classes"),
        (np.arange(18, dtype=np.uint8).reshape(2, 3, 3), "missing or broken"),
    ],
)
def test_what_does_not_fit(labels, why, target):
    reader, folder = target
    if labels is not None:
        Image.fromarray(labels).save(folder / "a.png")
    with pytest.raises(StorageError) as caught:
        PseudoLabelled(reader, folder, classes=3)[0]
    advice = f"remove the folder '{folder}' and resume the run: it writes them anew"
    assert str(caught.value) == f"pseudo-labels {folder / 'a.png'} are {why}; {advice}"


def test_only_labels_that_were_written_are_learnt(target):
    reader, folder = target
    file = folder / "clip" / "b.png"
    seal_labels(folder, [folder / "a.png", file])
    labelled = PseudoLabelled(reader, folder, 3, sealed_labels(folder))
    np.testing.assert_array_equal(labelled[1].labels, LABELS)
    Image.fromarray(LABELS[::-1]).save(file)
    with pytest.raises(StorageError, match="b.png are missing or broken; remove the folder"):
        labelled[1]
    seal_labels(folder, [file])
    assert sealed_labels(folder).sha256("clip/b.png") != sha256_of(file), "what was damaged is not answered for"


def test_labels_that_were_removed_are_answered_for_when_they_are_there_again(target):
    _, folder = target
    kept, removed = folder / "clip" / "b.png", folder / "a.png"
    Image.fromarray(LABELS).save(removed)
    seal_labels(folder, [kept, removed])
    removed.unlink()
    unseal_removed(folder)
    Image.fromarray(LABELS[::-1]).save(removed)
    seal_labels(folder, [kept, removed])
    unseal_removed(folder)
    sealed_labels(folder).check("a.png")
    removed.unlink()
    Image.fromarray(LABELS[::-1]).save(kept)
    with pytest.raises(StorageError, match="b.png' is damaged"):
        unseal_removed(folder)


def test_labels_without_checksums_are_not_learnt(target):
    with pytest.raises(StorageError, match="cannot read .*labels.json.*remove the folder .* and resume"):
        sealed_labels(target[1])


def test_targets_of_one_name_have_folders_of_their_own(tmp_path):
    readers = []
    for place in ("a/images", "b/images", "images-2", "c/images"):
        (tmp_path / place).mkdir(parents=True)
        Image.new("RGB", (3, 2)).save(tmp_path / place / "0.png")
        readers.append(ImageReader(str(tmp_path / place)))
    assert [reader.domain for reader in readers] == ["images", "images", "images-2", "images"]
    names = [folder.relative_to(tmp_path).as_posix() for folder in label_folders(readers, tmp_path)]
    assert names == ["images", "images-2", "images-2-2", "images-3"]


def test_a_broken_image_is_told_from_broken_labels(target, tmp_path):
    reader, folder = target
    (tmp_path / "frames" / "clip" / "b.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"b\.png: broken image"):
        PseudoLabelled(reader, folder, classes=3)[1]
