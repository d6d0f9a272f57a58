"""The whole chain as a person runs it: train, generate, score, report; stopped half-way; run twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.rows import read_rows
from benchmark.scoring.aggregate import TIMES
from benchmark.store import open_store

ROOT = Path(__file__).parent.parent
STEPS = 2
FILES = {
    "report.md",
    "report.json",
    "report.tex",
    "seconds.md",
    "tables",
    "pictures",
    "rows.jsonl",
    "suite.json",
}


def command(out: Path) -> list[str]:
    return [sys.executable, "-m", "benchmark", "run", "smoke", "--engine", "transformers", "--out", str(out)]


def content(out: Path) -> list[dict[str, object]]:
    return [row.model_dump(exclude=TIMES) for row in read_rows(out / "rows.jsonl")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("suite") / "straight"
    done = subprocess.run(command(out), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SMOKE" in done.stdout
    assert "\x1b" not in done.stdout  # piped output carries no terminal codes
    return out


@pytest.mark.slow
def test_everything_is_there(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} >= FILES
    rows = content(finished)
    assert len(rows) == 2 * (1 + 2 * 2 * STEPS)  # two splits: the base, and arms x seeds x checkpoints
    assert {row["kind"] for row in rows} == {"smoke"}
    assert all(row["n_items"] == (512 if row["split"] == "test" else 256) for row in rows)
    base = [row for row in rows if row["arm"] == "base" and row["split"] == "test"]
    assert 0.3 <= base[0]["value"] <= 0.6  # the embedded policy starts where there is something to learn
    values = {row["sample_key"]: row["value"] for row in rows}
    store = open_store(finished)
    assert store.keys() == sorted(values)
    assert not store.verify().problems
    assert not list(store.folder.glob("*.part"))


@pytest.mark.slow
def test_a_second_run_adds_nothing(finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    done = subprocess.run(command(finished), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    assert not [path for path in before if before[path] != after[path]]


@pytest.mark.slow
def test_stopped_and_started_again_ends_the_same(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    process = subprocess.Popen(
        command(out), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    checkpoint = out / "runs/grpo/seed_0/checkpoints/step_000001"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "goes on from here" in stderr
    assert not (out / "rows.jsonl").exists()
    children = subprocess.run(
        ["pgrep", "-f", str(out)], capture_output=True, text=True, check=False
    ).stdout.split()
    assert children == [] or children == [str(os.getpid())]
    done = subprocess.run(command(out), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert content(out) == content(finished)
    tables = [path.name for path in (finished / "tables").iterdir() if "seconds" not in path.name]
    assert len(tables) > 10
    for name in tables:
        assert (out / "tables" / name).read_bytes() == (finished / "tables" / name).read_bytes(), name
