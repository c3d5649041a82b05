"""What benchmarks/roofline.py claims of DINOv2-L holds for a smaller one."""

from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_the_roofline_of_a_small_backbone_is_as_claimed(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from roofline import FULL, LORA, SOMA, claims, variants

    counted = variants(6)
    full, soma, lora = (counted[name]() for name in (FULL, SOMA, LORA))
    assert all(claims({FULL: full, SOMA: soma, LORA: lora}).values())
    assert soma.kept < lora.kept < full.kept
