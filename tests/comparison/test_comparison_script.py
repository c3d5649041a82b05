"""scripts/compare.py as it is called."""

import json

import pytest

from minorkey.config import save_config


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--rate-seeds", "1", "2"], "seed 1 chooses rates and is reported"),
        (["--curve-seeds", "9"], "curve seed 9 is none of the seeds that are reported"),
    ],
)
def test_seeds_that_do_not_go_together(monkeypatch, options, error):
    import compare

    monkeypatch.setattr("sys.argv", ["compare.py", "demo_quick", "--table", "--seeds", "0", "1", *options])
    with pytest.raises(SystemExit, match=error):
        compare.main()


@pytest.mark.thorough
def test_a_comparison_in_small(make_config, tmp_path, monkeypatch, capsys):
    import compare

    preset, results = tmp_path / "tiny.yaml", tmp_path / "results"
    config = make_config(unseen=["world:night", "world:fog"])
    save_config(config, preset)
    ways = ["--ways", "frozen", "lora, SoMA's blocks", "--seeds", "0"]
    monkeypatch.setattr("sys.argv", ["compare.py", str(preset), "--results", str(results), *ways])
    assert compare.main() == 0
    for file in (results / "tiny" / "rates").rglob("*.json"):
        assert json.loads(file.read_text())["scores"] == {}
    run = json.loads((results / "tiny" / "lora-SoMAs-blocks" / "tiny-0.json").read_text())
    assert set(run["scores"]) == {"night", "fog"}
    assert run["weights"] == compare.weights_of(config)
    assert "| frozen | 0.001 |" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["compare.py", str(preset), "--results", str(results), "training.steps=3"])
    with pytest.raises(SystemExit, match="has runs of steps 4 in place of 3; give another --results"):
        compare.main()
    monkeypatch.setattr("sys.argv", ["compare.py", str(preset), "--results", str(results), "--head-rate", "0.3"])
    with pytest.raises(SystemExit, match=r"has runs of head_rate 0.001 in place of 0.3"):
        compare.main()
    other = tmp_path / "other" / preset.name
    other.parent.mkdir()
    save_config(make_config(unseen=["world:snow"]), other)
    monkeypatch.setattr("sys.argv", ["compare.py", str(other), "--results", str(results)])
    with pytest.raises(SystemExit, match=r"has runs of preset \w+ in place of"):
        compare.main()
    monkeypatch.setattr("sys.argv", ["compare.py", str(preset), "--results", str(results), "world.seed=1"])
    with pytest.raises(SystemExit, match=r"has runs of overrides \[\] in place of \['world.seed=1'\]"):
        compare.main()
