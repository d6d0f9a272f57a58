"""The measurement of aggregating: goals, growth, and one run on a small folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmark.aggregate import aggregate as to_rows
from benchmark.items import item_scores
from benchmark.perf import aggregate
from benchmark.perf.aggregate import growth, judge
from benchmark.perf.synthetic import ENGINE, SAMPLES, Size, make_folder
from benchmark.runs import read_runs


def sized(samples: int, seconds: float, gib: float) -> dict[str, float]:
    return {"samples": samples, "seconds": seconds, "peak_gib": gib}


def test_growth_is_the_exponent() -> None:
    assert growth([1, 4, 16], [5.0, 10.0, 20.0]) == pytest.approx(0.5)


def test_goals_are_judged_at_ten_million_alone() -> None:
    small = [sized(10**6, 1.0, 0.5), sized(3 * 10**6, 3.0, 0.5)]
    assert {one["verdict"] for one in judge(small)} == {"not judged: too few samples"}
    verdicts = [one["verdict"] for one in judge([*small, sized(10**7, 10.0, 4.5)])]
    assert verdicts == ["met", "not met", "met", "met"]
    assert [one["verdict"] for one in judge([*small, sized(10**7, 61.0, 0.5)])][::2] == ["not met", "not met"]


def test_the_sizes_are_the_millions_they_say() -> None:
    items = 2 * (256 + 512)
    for millions, size in aggregate.SIZES.items():
        samples = (4 * size.seeds * size.checkpoints + 1) * items * SAMPLES
        assert 1 <= samples / (int(millions) * 10**6) < 1.1


def test_a_small_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregate, "SIZES", {"1": Size(2, 1)})
    monkeypatch.setattr(sys, "argv", ["aggregate", "--out", str(tmp_path), "--millions", "1"])
    aggregate.main()
    found = json.loads((tmp_path / "aggregate.json").read_text())["sizes"][0]
    assert found["samples"] == 9 * 1536 * SAMPLES
    assert found["units"] == 9 * 4
    assert found["rows"] == 9 * 4 * 9  # splits of tasks, metrics
    assert 0.05 < found["peak_gib"] < 2
    assert "not judged" in (tmp_path / "aggregate.md").read_text()


def test_made_up_grades_learn(tmp_path: Path) -> None:
    suite, _, samples = make_folder(tmp_path, Size(1, 2))
    out = tmp_path / "out"
    rows = to_rows(suite, read_runs(suite, out), out, ENGINE)
    place = ("grpo", "add2", "test", "accuracy")
    value = {row.step: row.value for row in rows if (row.arm, row.task, row.split, row.metric) == place}
    assert value[10] < value[20]
    assert len(item_scores(out, suite)) * SAMPLES == samples
