"""What lies in the weights of a network, and what a training changed there."""

from minorkey.spectrum.drift import DriftRow, measure_drift
from minorkey.spectrum.files import read_spectrum, write_spectrum
from minorkey.spectrum.rows import Spectrum, UpdateRow, WeightRow
from minorkey.spectrum.run import survey
from minorkey.spectrum.survey import survey_update, survey_weights

__all__ = [
    "DriftRow",
    "Spectrum",
    "UpdateRow",
    "WeightRow",
    "measure_drift",
    "read_spectrum",
    "survey",
    "survey_update",
    "survey_weights",
    "write_spectrum",
]
