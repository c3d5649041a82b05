import numpy as np
import pytest

from minorkey.tasks.detection.matching import box_overlap, match_coco, match_voc

BOX = [0, 0, 10, 10]
HALF = [0, 0, 10, 5]  # IoU 0.5 with it
THIRD = [5, 0, 15, 10]  # IoU 1/3 with it


def _match(match, boxes, truth, flags, **options):
    """Hits and those left out, at the first threshold."""
    boxes, truth = (np.array(rows, dtype=np.float32).reshape(-1, 4) for rows in (boxes, truth))
    outcome = match(boxes, truth, np.array(flags, dtype=bool), **options)
    return outcome.hit[0].tolist(), outcome.left_out[0].tolist()


def test_overlap_is_iou_and_in_a_crowd_the_share_of_the_detection():
    boxes, truth = np.array([BOX, HALF, THIRD, [20, 20, 30, 30]]), np.array([BOX, BOX])
    expected = [[1, 1], [1 / 2, 1], [1 / 3, 1 / 2], [0, 0]]
    assert box_overlap(boxes, truth, np.array([False, True])) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("match", [match_coco, match_voc])
def test_an_object_is_found_once_and_an_iou_of_the_threshold_is_enough(match):
    assert _match(match, [HALF, BOX, THIRD], [BOX], [False]) == ([True, False, False], [False] * 3)
    assert _match(match, [BOX], [], []) == ([False], [False])
    assert _match(match, [], [BOX], [False]) == ([], [])


def test_coco_takes_the_next_object_where_voc_does_not():
    shifted = [2, 0, 12, 10]
    boxes, truth = [BOX, [0.5, 0, 10.5, 10]], [BOX, shifted]  # the second detection is nearer to the first object
    assert _match(match_coco, boxes, truth, [False, False])[0] == [True, True]
    assert _match(match_voc, boxes, truth, [False, False])[0] == [True, False]


def test_a_crowd_leaves_out_all_that_lies_in_it_but_an_object_goes_first():
    crowd = [0, 0, 100, 100]
    inside = [20, 20, 30, 30]
    found = _match(match_coco, [inside, inside, BOX, [95, 95, 140, 140]], [crowd, BOX], [True, False])
    assert found == ([False, False, True, False], [True, True, False, False])


def test_a_difficult_object_of_voc_must_be_met_by_iou():
    difficult = [0, 0, 100, 100]
    found = _match(match_voc, [[20, 20, 30, 30], [0, 0, 100, 90], [0, 0, 100, 95]], [difficult], [True])
    assert found == ([False] * 3, [False, True, True])


def test_every_threshold_is_matched_on_its_own():
    outcome = match_coco(np.array([HALF, BOX]), np.array([BOX]), np.array([False]), np.array([0.5, 0.75]))
    assert outcome.hit.tolist() == [[True, False], [False, True]]
