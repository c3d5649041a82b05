"""Ray Data drives a run: `make test-ray`."""

import numpy as np
import pytest

from minorkey.runs.batches import BatchPredictor
from minorkey.runs.load import load

ray = pytest.importorskip("ray", reason="ray is an extra: make test-ray")
data = pytest.importorskip("ray.data", reason="ray is an extra: make test-ray")


@pytest.fixture
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
    yield
    ray.shutdown()


def test_map_batches_gives_what_the_predictor_gives(finished_run, cluster):
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 48, 3), dtype=np.uint8)
    rows = data.from_items([{"index": index, "image": image} for index, image in enumerate(images)])
    predicted = rows.map_batches(
        BatchPredictor, fn_constructor_args=(str(finished_run.path),), batch_size=2, concurrency=1
    )
    predictor = load(finished_run.path, device="cpu")
    found = {row["index"]: row["labels"] for row in predicted.take_all()}
    assert sorted(found) == list(range(6))
    for index, labels in found.items():
        assert np.array_equal(labels, predictor.predict(images[index]).labels)
