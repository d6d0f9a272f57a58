"""What the measurements of the engines say, without measuring."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.torch import load_file

from benchmark.perf.against_command import command
from benchmark.perf.cases import RACES, perturbed, suite_of
from benchmark.perf.ratios import share, speedup, table
from tasks.checkpoints import inspect_checkpoint
from tasks.engines.proof import check_architecture


def test_the_interval_holds_the_ratio_and_knows_pairs() -> None:
    rng = np.random.default_rng(0)
    fast = rng.normal(2.0, 0.1, 20)
    found = speedup(list(fast * 5), list(rng.permutation(fast)), np.random.default_rng(0))
    assert found["interval"][0] < found["ratio"] < found["interval"][1]
    assert found["ratio"] == pytest.approx(5, rel=0.05)
    assert found["counts"] == [20, 20]
    paired = share(list(fast * 0.96), list(fast), np.random.default_rng(0))
    assert paired["interval"] == pytest.approx([0.96, 0.96])  # in turns: what both share falls out


def test_a_goal_is_met_by_the_whole_interval() -> None:
    def row(low: float) -> dict[str, object]:
        measured = {"ratio": 6.0, "interval": [low, 7.0], "counts": [10, 5], "medians": [6.0, 1.0]}
        return {"case": "x", "summary": "s", "goal": 5, "unit": "s", **measured}

    held = {"machine": {"processor": "p"}, "git_sha": "0123456789", "results": [row(4.9), row(5.1)]}
    lines = [line for line in table([held]).splitlines() if "| x" in line]
    assert ["not met" in line for line in lines] == [True, False]
    assert "6.00 [4.90, 7.00]" in lines[0]


def test_checkpoints_of_a_race_are_like_those_of_a_run(tiny: ModuleType, tmp_path: Path) -> None:
    policy = tiny.build_tiny(tmp_path / "policy")
    (tmp_path / "out").mkdir()
    folders = perturbed(policy, tmp_path / "out", 2)
    assert len({inspect_checkpoint(folder).weights_hash for folder in [policy, *folders]}) == 3
    for folder in folders:
        check_architecture(policy, folder)
    before, after = (load_file(one / "model.safetensors") for one in (policy, folders[1]))
    for name, tensor in before.items():
        assert (after[name] - tensor).abs().max() < 0.01 * tensor.std() + 1e-12, name


@pytest.mark.parametrize("name", RACES)
def test_both_sides_of_a_race_are_asked_the_same(name: str, tmp_path: Path) -> None:
    case = RACES[name]
    words = command(case, tmp_path / "policy", tmp_path / "out.json")
    assert words[words.index("--tasks") + 1] == ",".join(f"{task}_test" for task in case.tasks)
    assert f"max_gen_toks={case.new_tokens}" in words[words.index("--gen_kwargs") + 1]
    suite = suite_of(case.tasks, case.new_tokens, temperature=0.0)
    for task in case.tasks:
        assert suite.decoding(task).sampling.max_new_tokens == case.new_tokens
        assert suite.decoding(task).samples == 1
