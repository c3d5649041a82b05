"""Folders as tools export them, told by what lies in them: each becomes what a `dataset.yaml` would say."""

from minorkey.data.readers.exports.recognise import Recognised, is_ours, looked_for, recognise, recognised_kinds

__all__ = ["Recognised", "is_ours", "looked_for", "recognise", "recognised_kinds"]
