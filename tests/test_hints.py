"""Keys and options that are nearly right: what is said of them."""

import pytest
from typer.testing import CliRunner

from minorkey.cli import app
from minorkey.config import resolve
from minorkey.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"lr": 0.1}, r"unknown key 'lr'; did you mean 'training\.lr'\?"),
        ({"steps": 5}, r"unknown key 'steps'; did you mean 'training\.steps'\?"),
        ({"training": {"rank": 4}}, r"unknown key 'training\.rank'; did you mean 'method\.rank'\?"),
        ({"crop": [64, 64]}, r"'transform\.crop' or 'target_transform\.crop'\?"),
        ({"training": {"stepz": 5}}, r"'training\.stepz'; did you mean 'training\.steps'\? Known: "),
    ],
)
def test_a_key_in_another_section_is_found(given, meant):
    with pytest.raises(ConfigError, match=meant):
        resolve("demo", given)


@pytest.mark.parametrize(
    ("command", "option", "setting"),
    [
        ("train", "--head", "head=VALUE"),
        ("train", "--device", "training.device=VALUE"),
        ("train", "--batch-size", "training.batch_size=VALUE"),
        ("leave-one-out", "--lr", "training.lr=VALUE"),
        ("evaluate", "--flip", "evaluation.flip=VALUE"),
    ],
)
def test_an_option_that_is_a_setting_says_how_it_is_given(command, option, setting):
    result = CliRunner().invoke(app, [command, "demo", option, "x"])
    assert isinstance(result.exception, ConfigError)
    assert f"there is no option {option}; it is a setting: " in str(result.exception)
    assert setting in str(result.exception)


def test_an_option_that_is_nothing_is_said_as_ever():
    result = CliRunner().invoke(app, ["train", "demo", "--sede", "1"])
    assert result.exit_code == 2
    assert "--seed" in result.output


def test_a_misspelt_key_is_said_before_the_one_that_is_missing_for_it():
    with pytest.raises(ConfigError, match="unknown key 'souce'; did you mean 'source'?"):
        resolve(None, {"souce": "world:clear"})
