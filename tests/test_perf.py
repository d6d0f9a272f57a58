"""Step time against TRL: the ratio and its interval, the table, and two short measurements."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.errors import UserError
from trainer.perf import against_trl
from trainer.perf.cases import CASES, our_config, trl_config
from trainer.perf.ratio import median_ratio, medians, summarise


def steps(seconds: list[float], tokens: int = 10) -> list[dict[str, float]]:
    return [
        {"step_s": s, "rollout_s": s / 2, "update_s": s / 2, "tokens": tokens, "peak_rss_mb": 1 + s}
        for s in seconds
    ]


def test_the_interval_mostly_holds_the_ratio() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(60):
        pairs = np.stack([rng.lognormal(np.log(1.5), 0.2, 12), rng.lognormal(0, 0.2, 12)], axis=1)
        ratio, low, high = median_ratio(pairs)
        assert low < ratio < high
        held += low < 1.5 < high
    assert 53 <= held < 60  # 57 are expected of 95 %


def test_a_goal_is_met_by_the_whole_interval() -> None:
    ours, theirs = steps([1.0, 1.0, 2.0, 1.0]), steps([2.0, 2.0, 2.0, 2.0])
    result = summarise(ours, theirs, goal=0.9)
    assert result["ratio"] == 0.5
    assert result["interval"][1] == 1.0  # two slow steps of ours among four are possible
    assert not result["met"]
    assert summarise(ours, theirs, goal=1.0)["met"]


def test_medians_name_rates_and_peaks() -> None:
    found = medians(steps([1.0, 4.0, 2.0]))
    assert found["step_s"] == 2.0
    assert found["generated_tokens_per_s"] == 10.0
    assert found["peak_rss_mb"] == 5.0


@pytest.mark.parametrize("name", sorted(CASES))
def test_both_sides_get_the_same_recipe(name: str) -> None:
    ours, theirs = our_config(CASES[name]).model_dump(), trl_config(CASES[name]).model_dump()
    assert theirs.pop("trainer") == "trl"
    different = {key for key in ours if ours[key] != theirs[key]}
    assert different == set(CASES[name].our_changes)


def test_an_interval_needs_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["against_trl", "embedded", "--out", str(tmp_path), "--steps", "1"])
    with pytest.raises(UserError, match="--steps 1"):
        against_trl.main()


@pytest.mark.peers
@pytest.mark.parametrize(("case", "tokens"), [("embedded", None), ("update", 4 * 6)])
def test_a_short_measurement(
    case: str, tokens: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sizes = ["problems_per_step=1", "group_size=4", "micro_batch=2", "max_new_tokens=6"]
    sizes += ["policy=embedded", "task=add2"]
    overrides = [word for size in sizes for word in ("--set", size)]
    words = ["against_trl", case, "--out", str(tmp_path), "--steps", "2", "--warm-up", "1", *overrides]
    monkeypatch.setattr(sys, "argv", words)
    against_trl.main()
    result: dict[str, Any] = json.loads((tmp_path / f"{case}.json").read_text())
    for side in ("ours", "trl"):
        assert len(result["sides"][side]["steps"]) == 2
        assert all(step["step_s"] > 0 for step in result["sides"][side]["steps"])
        if tokens:
            assert result["medians"][side]["tokens"] == tokens
    assert "trl" in result["sides"]["trl"]["versions"]
    assert f"`{case}`" in (tmp_path / "against_trl.md").read_text()
