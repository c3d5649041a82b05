import pytest

from minorkey.adapters.options import MethodOptions, SoMA
from minorkey.adapters.specs import ALIASES, METHODS, method_spec
from minorkey.errors import ConfigError


def test_every_method_that_is_promised_has_a_row_under_its_name() -> None:
    promised = ["soma", "lora", "rslora", "dora", "pissa", "milora", "mica", "olora", "full", "frozen", "bias", "norm"]
    assert set(promised) <= set(METHODS)
    assert all(spec.name == name for name, spec in METHODS.items())
    assert set(ALIASES.values()) <= set(METHODS)


@pytest.mark.parametrize("spec", METHODS.values(), ids=METHODS)
def test_only_an_adapter_has_a_start(spec) -> None:
    assert spec.trains == "adapter" or not (spec.start or spec.residual or spec.peft or spec.trains_biases)
    assert spec.residual <= (spec.start is not None)


def test_milora_is_soma_without_freezing_and_annealing() -> None:
    soma, milora = METHODS["soma"], METHODS["milora"]
    assert (milora.start, milora.residual) == (soma.start, soma.residual)
    assert soma.anneals_weight_decay
    assert not milora.anneals_weight_decay
    assert milora.default_first_block(24) == 0


@pytest.mark.parametrize(("blocks", "first"), [(24, 8), (12, 4), (3, 1), (1, 0)])
def test_soma_leaves_the_first_third_of_the_blocks_alone(blocks: int, first: int) -> None:
    assert method_spec("soma").default_first_block(blocks) == first
    assert method_spec("lora").default_first_block(blocks) == 0


def test_sora_is_soma() -> None:
    assert method_spec("sora") is METHODS["soma"]
    assert MethodOptions(name="sora") == MethodOptions(name="soma")


def test_unknown_method_offers_the_closest_name() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown method 'somma'; did you mean 'soma'\? Known: bias, dora, frozen, full"
    ):
        MethodOptions(name="somma")


def test_defaults_are_those_of_the_paper() -> None:
    options = MethodOptions()
    assert (options.name, options.rank, options.scaling_in(0), options.trains_biases) == ("soma", 16, 1.0, True)


def test_rank_holds_from_its_block_on_and_the_scaling_follows() -> None:
    options = SoMA(rank=16, alpha=8, rank_ramp={4: 2, 8: 4})
    assert [options.rank_in(block) for block in (0, 3, 4, 7, 8, 30)] == [16, 16, 2, 2, 4, 4]
    assert [options.scaling_in(block) for block in (0, 4, 8)] == [0.5, 4.0, 2.0]


def test_rslora_scales_by_the_root_of_the_rank() -> None:
    assert MethodOptions(name="rslora", rank=16, alpha=8).scaling_in(0) == 2.0


def test_bias_rule_of_the_method_can_be_overridden() -> None:
    assert not MethodOptions(name="soma", train_bias=False).trains_biases
    assert not MethodOptions(name="lora").trains_biases
    assert MethodOptions(name="lora", train_bias=True).trains_biases


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank": 0},
        {"alpha": 0},
        {"alpha": float("inf")},
        {"rank": "many"},
        {"first_block": -1},
        {"roles": ["qkv"]},
        {"roles": []},
        {"ranks": 4},
        {"rank_ramp": {}},
        {"rank_ramp": {-1: 4}},
        {"rank_ramp": {2: 0}},
        {"dropout": 1.0},
        {"layers": {"up": ["x"]}},
    ],
)
def test_values_out_of_range_and_unknown_keys_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=rf"method\.{next(iter(wrong))}"):
        MethodOptions(**wrong)
