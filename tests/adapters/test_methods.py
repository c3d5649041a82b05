import pytest
from pydantic import ValidationError

from minorkey.adapters.options import MethodOptions
from minorkey.adapters.specs import ALIASES, METHODS, method_spec
from minorkey.errors import ConfigError


def test_rows_are_filed_under_their_names() -> None:
    assert set(METHODS) == {"soma", "lora", "pissa", "full", "frozen"}
    assert all(spec.name == name for name, spec in METHODS.items())
    assert set(ALIASES.values()) <= set(METHODS)


@pytest.mark.parametrize("spec", METHODS.values(), ids=METHODS)
def test_a_row_has_factors_exactly_when_it_trains_an_adapter(spec) -> None:
    assert (spec.init is not None) == (spec.trains == "adapter")
    assert spec.residual == (spec.name in ("soma", "pissa"))


@pytest.mark.parametrize(("blocks", "first"), [(24, 8), (12, 4), (3, 1), (1, 0)])
def test_soma_leaves_the_first_third_of_the_blocks_alone(blocks: int, first: int) -> None:
    assert method_spec("soma").default_first_block(blocks) == first
    assert method_spec("lora").default_first_block(blocks) == 0


def test_sora_is_soma() -> None:
    assert method_spec("sora") is METHODS["soma"]
    assert MethodOptions(name="sora") == MethodOptions(name="soma")


def test_unknown_method_offers_the_closest_name() -> None:
    with pytest.raises(ConfigError, match=r"unknown method 'somma'; did you mean 'soma'\? Known: frozen, full"):
        MethodOptions(name="somma")


def test_defaults_are_those_of_the_paper() -> None:
    options = MethodOptions()
    assert (options.name, options.rank, options.scaling, options.trains_biases) == ("soma", 16, 1.0, True)


def test_bias_rule_of_the_method_can_be_overridden() -> None:
    assert not MethodOptions(name="soma", train_bias=False).trains_biases
    assert not MethodOptions(name="lora").trains_biases
    assert MethodOptions(name="lora", train_bias=True).trains_biases


@pytest.mark.parametrize(
    "wrong", [{"rank": 0}, {"alpha": 0}, {"first_block": -1}, {"roles": ["qkv"]}, {"roles": []}, {"ranks": 4}]
)
def test_values_out_of_range_and_unknown_keys_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        MethodOptions(**wrong)
