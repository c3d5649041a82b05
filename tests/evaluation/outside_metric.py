"""A metric of somebody else's: no classes, no percent, better when lower, as the error of a depth map is."""

import numpy as np

from minorkey.tasks.image_scores import mean_over_images
from minorkey.tasks.metric import Metric


def miscounted(prediction, sample):
    """By how many classes an image's prediction and its labels differ, in metres, for want of a better unit."""
    return 0.25 * len(np.setxor1d(prediction.labels, sample.labels[sample.labels != 255]))


ERROR = Metric(
    "RMSE",
    "The mean over the images of a domain.",
    mean_over_images(miscounted),
    rule="classes taken for metres",
    unit="m",
    higher_is_better=False,
    digits=3,
)
