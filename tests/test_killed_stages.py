"""Scoring and aggregating, killed at file calls, end as an undisturbed run; so do two at once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchmark.rows import read_rows
from benchmark.scoring.aggregate import content
from benchmark.scoring.grades import grades_path
from tests.toy import RIGHT, all_rows, find_unit, make_suite, write_suite

HERE = Path(__file__).parent


def killed(folder: Path, stride: int) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "killing_stages.py"), str(folder), str(stride)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(runs) == len(range(1, runs[0]["total"] + 1, stride))
    assert [run for run in runs if run["codes"][0] != -9 or run["codes"][-1] != 0 or run["different"]] == []


def test_killed_at_some_file_calls_it_ends_the_same(tmp_path: Path) -> None:
    killed(tmp_path, 12)


@pytest.mark.exhaustive
def test_killed_at_every_file_call_it_ends_the_same(tmp_path: Path) -> None:
    killed(tmp_path, 1)


def test_two_at_once_end_like_one(tmp_path: Path) -> None:
    one, two = write_suite(tmp_path / "one"), write_suite(tmp_path / "two")
    all_rows(make_suite(), one)
    both = [threading.Thread(target=all_rows, args=(make_suite(), two)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    rows = [content(row) for row in read_rows(two / "rows.jsonl")]
    assert rows == [content(row) for row in read_rows(one / "rows.jsonl")]
    assert len(rows) == 2 * len(RIGHT)
    path = grades_path(two, find_unit(make_suite(), two, ("grpo", 0, 2)).key)
    assert path.read_bytes() == (one / path.relative_to(two)).read_bytes()
