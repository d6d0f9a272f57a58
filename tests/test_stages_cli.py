"""`score` and `aggregate` as a person calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.rows import read_rows
from tests.toy import ENGINE, RIGHT, SIZE, make_suite, write_suite

ROOT = Path(__file__).parent.parent


@pytest.fixture
def out(tmp_path: Path) -> Path:
    write_suite(tmp_path / "out")
    values = make_suite().model_dump(include={"summary", "recipe", "arms", "baseline", "seeds", "tasks"})
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    (tmp_path / "toy.toml").write_text("\n".join(lines) + "\n")
    return tmp_path / "out"


def call(command: str, out: Path, *more: str, engine: str = ENGINE) -> subprocess.CompletedProcess[str]:
    words = [command, str(out.parent / "toy.toml"), "--out", str(out), "--engine", engine, *more]
    return subprocess.run(
        [sys.executable, "-m", "benchmark", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_score_then_aggregate_then_both_again(out: Path) -> None:
    early = call("aggregate", out)
    assert early.returncode == 2
    assert "have no grade" in early.stderr
    scored = call("score", out)
    assert scored.returncode == 0, scored.stderr
    assert f"{len(RIGHT) * sum(SIZE.values())} texts graded" in scored.stdout
    assert "no grades of an earlier one to compare with" in scored.stdout
    assert not (out / "rows.jsonl").exists()
    done = call("aggregate", out)
    assert done.returncode == 0, done.stderr
    assert "18 rows in" in done.stdout
    assert len(read_rows(out / "rows.jsonl")) == 18
    files = [out / "rows.jsonl", out / "report.md", *(out / "tables").glob("*.csv")]
    tables = {path.relative_to(out): path.read_bytes() for path in files}
    assert len(tables) >= 5
    assert "\n0 texts graded" in call("score", out).stdout
    assert call("aggregate", out).returncode == 0
    assert {name: (out / name).read_bytes() for name in tables} == tables


def test_a_report_is_of_what_its_command_names(out: Path) -> None:
    assert call("score", out).returncode == 0
    assert call("aggregate", out).returncode == 0
    seeds = {one.seed for one in read_rows(out / "rows.jsonl")}
    assert seeds == {None, 0, 1}
    done = call("report", out, "--set", "seeds=[1]")
    assert done.returncode == 0, done.stderr
    pairs = json.loads((out / "report.json").read_text())["tables"]["differences_steps"]["records"]
    assert {pair["n"] for pair in pairs} == {1}
    assert "the folder has rows of them: 2 runs (grpo seed 0, lambda_grpo seed 0)" in done.stdout
    for more, engine, told in (
        (
            ["--set", "seeds=[0,1,2]"],
            ENGINE,
            "has no rows of arm 'grpo', seed 2 (engines with rows: transformers)",
        ),
        ([], "vllm", "has no rows of arm 'grpo', seed 0 (engines with rows: none)"),
    ):
        refused = call("report", out, *more, engine=engine)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
        assert told in refused.stderr
        assert f"--out {out}" in refused.stderr


def test_a_torn_last_row_is_named_and_written_again(out: Path) -> None:
    assert call("score", out).returncode == 0
    assert call("aggregate", out).returncode == 0
    path = out / "rows.jsonl"
    rows = read_rows(path)
    path.write_bytes(path.read_bytes()[:-20])
    torn = call("report", out)
    assert f"note: {path}: its last line was cut off" in torn.stdout
    assert (torn.returncode, torn.stderr.count("\n")) == (2, 1), torn.stderr
    healed = call("aggregate", out)
    assert healed.returncode == 0, healed.stderr
    again = read_rows(path)
    assert again[:-1] == rows[:-1]
    assert again[-1] == rows[-1].model_copy(update={"scored_at": again[-1].scored_at})
    assert "cut off" not in healed.stdout
