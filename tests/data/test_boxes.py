import numpy as np

from minorkey.data.boxes import box_areas, box_faults, box_sides, clip_boxes


def test_every_kind_of_fault():
    boxes = np.array(
        [
            [0, 0, 20, 10],  # the whole image
            [19, 9, 20, 10],  # its last pixel
            [-5, -5, 30, 30],  # over every edge
            [np.nan, 0, 5, 5],
            [0, 0, np.inf, 5],
            [5, 0, 4, 5],
            [0, 5, 4, 4],
            [5, 0, 5, 5],
            [0, 5, 4, 5],
            [20, 0, 25, 5],
            [0, 10, 5, 12],
            [-5, 0, 0, 5],
            [0, -5, 5, 0],
            [40, 40, 30, 50],  # inverted is graver than outside
        ],
        np.float32,
    )
    expected = [None] * 3 + ["not finite"] * 2 + ["inverted"] * 2 + ["empty"] * 2 + ["outside"] * 4 + ["inverted"]
    assert box_faults(boxes, width=20, height=10) == expected
    assert box_faults(np.zeros((0, 4), np.float32), 20, 10) == []


def test_a_box_is_clipped_to_what_is_in_the_image():
    boxes = np.array([[-5, -5, 30, 30], [1, 2, 3, 4], [25, 3, 30, 5]], np.float32)
    clipped = clip_boxes(boxes, width=20, height=10)
    assert clipped.dtype == np.float32
    np.testing.assert_array_equal(clipped, [[0, 0, 20, 10], [1, 2, 3, 4], [20, 3, 20, 5]])
    np.testing.assert_array_equal(box_sides(clipped), [[20, 10], [2, 2], [0, 2]])
    np.testing.assert_array_equal(box_areas(clipped), [200, 4, 0])


def test_clipped_boxes_without_fault_have_an_area():
    rng = np.random.default_rng(0)
    boxes = rng.integers(-10, 30, (500, 4)).astype(np.float32)
    sound = np.array([fault is None for fault in box_faults(boxes, 20, 10)])
    assert 20 < sound.sum() < 480
    np.testing.assert_array_equal((box_sides(clip_boxes(boxes, 20, 10)) > 0).all(axis=1), sound)
