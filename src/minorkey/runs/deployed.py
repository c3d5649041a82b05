"""A deployed file in the place of a run: it is judged on the domains, and by the protocol, that its run would be."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minorkey.config import RunConfig, config_of_others
from minorkey.errors import ConfigError
from minorkey.runs.deployed_info import SUFFIX, DeployedInfo

ON_HOST = {"training": {"device": "cpu"}}
"""Tensors are on the host, whatever device the other library computes on."""


def is_deployed(run: str | Path) -> bool:
    """Whether this names a file, and not the folder of a run."""
    return Path(run).suffix.lower() == SUFFIX


def deployed_config(info: DeployedInfo, file: Path, overrides: Mapping[str, Any]) -> RunConfig:
    """What judging a file goes by: the configuration of its run, where the file has it, with overrides.

    Raises:
        ConfigError: a value is wrong, or asks for what is fixed in a file: more boxes, another precision, or scores of
            the sources, which it only has the names of.
    """
    evaluation = {**info.judged_by.get("evaluation", {}), "source": False}
    kept = {"task": info.task, "method": info.method, "transform": {"crop": list(info.crop)}}
    values = {**info.judged_by, **kept, **ON_HOST, "evaluation": evaluation}
    written, config = (config_of_others(values, file, changes) for changes in ({}, overrides))
    if config.evaluation.source:
        raise ConfigError(f"'{file}' has only the names of its sources; name what to judge on with --unseen")
    asked, most = config.evaluation.detections, written.evaluation.detections
    if asked > most:
        raise ConfigError(
            f"evaluation.detections is {asked}, but '{file}' gives {most} boxes of an image; judge the run"
        )
    if config.evaluation.precision != written.evaluation.precision:
        raise ConfigError(f"evaluation.precision is how a run computes; '{file}' computes in {info.computed}")
    return config


def evaluations_of(file: Path) -> Path:
    """Where scores of a file go unless said: beside its folder, which an export may replace."""
    folder = file.absolute().parent
    return folder.with_name(f"{folder.name}-evaluations")
