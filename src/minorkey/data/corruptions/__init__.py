"""Corruptions as test domains: any labelled data set under fog, night, noise, blur; `camvid:val+night@3`."""

from minorkey.data.corruptions.naming import CORRUPTED, Corruption, clean_domain, robustness_domains, split_corruption
from minorkey.data.corruptions.spec import CORRUPTIONS, SEVERITIES, CorruptionSpec, corruption_title

__all__ = [
    "CORRUPTED",
    "CORRUPTIONS",
    "SEVERITIES",
    "Corruption",
    "CorruptionSpec",
    "clean_domain",
    "corruption_title",
    "robustness_domains",
    "split_corruption",
]
