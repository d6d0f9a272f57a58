"""The measurement of aggregating: goals, growth, and one run on a small folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmark.jobs.runs import read_runs
from benchmark.perf import aggregate
from benchmark.perf.aggregate import growth, judge
from benchmark.perf.synthetic import ENGINE, SAMPLES, Size, make_folder
from benchmark.scoring.aggregate import aggregate as to_rows
from benchmark.scoring.items import item_scores


def sized(samples: int, seconds: float, gib: float) -> dict[str, float]:
    return {"samples": samples, "seconds": seconds, "peak_gib": gib}


def test_growth_is_the_exponent() -> None:
    assert growth([1, 4, 16], [5.0, 10.0, 20.0]) == pytest.approx(0.5)


def test_goals_are_judged_at_ten_million_alone() -> None:
    small = [sized(10**6, 1.0, 0.5), sized(3 * 10**6, 3.0, 0.5)]
    assert {one["verdict"] for one in judge(small)} == {"not judged: too few samples"}
    verdicts = [one["verdict"] for one in judge([*small, sized(10**7, 10.0, 4.5)])]
    assert verdicts == ["met", "not met", "met", "met"]
    slow = judge([*small, sized(10**7, 61.0, 0.5)])
    assert [one["verdict"] for one in slow] == ["not met", "met", "not met", "met"]


def test_what_starting_costs_hides_no_growth() -> None:
    """1, 3 and 10 million at 10 s of start: squares look linear on a scale of logarithms."""
    squares = [sized(n * 10**6, 10 + 0.1 * n * n, 0.5) for n in (10, 1, 3)]
    assert growth([one["samples"] for one in squares], [one["seconds"] for one in squares]) < 1.1
    (slope,) = [one for one in judge(squares) if one["what"].startswith("seconds of")]
    assert slope["value"] == pytest.approx(1.3 / 0.4)
    assert slope["verdict"] == "not met"
    straight = [sized(n * 10**6, 10 + 3 * n, 0.5) for n in (10, 1, 3)]
    (slope,) = [one for one in judge(straight) if one["what"].startswith("seconds of")]
    assert (slope["value"], slope["verdict"]) == (pytest.approx(1), "met")
    assert len(judge(straight[:2])) == 3  # no middle, no judgement of the slopes


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
