"""Whole runs that meet a fault: the same command ends in the same table, or says in one line what to mend.

The command is the real one with a stub for model and trainer (tests/stubbed.py), so that a run takes seconds;
`test_the_real_command_survives_kills` takes the embedded policy.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmark.store import open_store

ROOT = Path(__file__).parent.parent
SUITE = """
summary = "toy"
recipe = "embedded"
arms = ["grpo", "lambda_grpo"]
baseline = "grpo"
seeds = [0, 1]
tasks = ["sums1"]
"""
CHECKPOINTS, COMPLETIONS = 13, 120
VICTIM = "lambda_grpo/seed_0/checkpoints/step_000004"


class Bench:
    """A folder with a toy suite, and the stubbed command on it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "toy.toml").write_text(SUITE)
        self.folder, self.out = folder, folder / "out"
        self.environment = {"STUB_HOME": str(folder), "STUB_DIE": str(folder / "die")}

    def start(
        self, what: str = "run", *words: str, out: Path | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        line = [sys.executable, str(ROOT / "tests/stubbed.py"), what]
        if what != "store":
            line += [str(self.folder / "toy.toml"), "--engine", "transformers", "--jobs", "2"]
        line += ["--out", str(out or self.out), *words]
        told = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            line,
            cwd=self.folder,
            env=os.environ | self.environment | told | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, what: str = "run", *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(what, *words, **environment)
        output, told = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, output, told)

    def die(self, how: str, where: str = VICTIM) -> None:
        (self.folder / "die").write_text(f"{where} {how}")

    def table(self) -> bytes:
        return (self.out / "table.csv").read_bytes()

    def children(self) -> list[str]:
        found = subprocess.run(["pgrep", "-f", str(self.out)], capture_output=True, text=True, check=False)
        return found.stdout.split()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the table of a run that nothing happened to."""
    bench = Bench(tmp_path_factory.mktemp("straight"))
    done = bench.run()
    assert done.returncode == 0, done.stderr
    held = open_store(bench.out).counts()
    assert sum(held.values()) == CHECKPOINTS * COMPLETIONS
    assert list((bench.out / "leases").iterdir()) == []
    lines = bench.table().decode().splitlines()
    assert len(lines) == 1 + 2 * CHECKPOINTS
    values = {row["value"] for row in csv.DictReader(lines)}
    assert len(values) > 5  # values that differ, so there is something to compare
    return bench.table()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def one_line(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr, done.stderr


def kill_at_moments(
    start: Callable[[], subprocess.Popen[str]], moments: int, span: float, rng: random.Random
) -> int:
    """Kill a command at random moments until it was killed often enough; returns how often it was."""
    killed = 0
    for _ in range(moments):
        process = start()
        try:
            process.communicate(timeout=rng.uniform(0.2, span))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
    return killed


def test_killed_at_random_moments(bench: Bench, straight: bytes) -> None:
    """Each time the same command again, from wherever it was."""
    killed = kill_at_moments(lambda: bench.start(STUB_PAUSE="0.3"), 4, 5.0, random.Random(5))
    assert killed >= 3
    assert bench.children() == []
    done = bench.run()
    assert done.returncode == 0, done.stderr
    assert bench.table() == straight


def test_a_worker_that_dies_once_is_replaced(bench: Bench, straight: bytes) -> None:
    bench.die("once")
    done = bench.run()
    assert done.returncode == 0, done.stderr
    assert "exit code -9" in done.stdout
    assert "another takes over" in done.stdout
    assert bench.table() == straight
    assert list((bench.out / "leases").iterdir()) == []


@pytest.mark.parametrize(("how", "reason"), [("kill", "exit code -9"), ("raise", "CUDA error: an illegal")])
def test_a_checkpoint_that_kills_twice_is_quarantined(
    bench: Bench, straight: bytes, how: str, reason: str
) -> None:
    bench.die(how)
    one_line(bench.run(), 7, "1 checkpoint quarantined", VICTIM, reason, "--retry-quarantined")
    held = open_store(bench.out).counts()
    assert sum(held.values()) == (CHECKPOINTS - 1) * COMPLETIONS  # the others went on
    assert len(list((bench.out / "grades").rglob("*.parquet"))) == 2 * (CHECKPOINTS - 1)
    assert not (bench.out / "rows.jsonl").exists()
    (bench.folder / "die").unlink()
    one_line(bench.run(), 7, "1 checkpoint quarantined", VICTIM)  # not touched again unless asked
    done = bench.run("run", "--retry-quarantined")
    assert done.returncode == 0, done.stderr
    assert bench.table() == straight


@pytest.mark.slow
def test_workers_that_all_die_are_the_machine_s_fault(bench: Bench) -> None:
    bench.die("raise", "")
    done = bench.run()
    one_line(done, 7, "workers die at every checkpoint and nothing was finished", "CUDA error", "generate_")


@pytest.mark.slow
def test_a_checkpoint_deleted_mid_way_is_named(bench: Bench, straight: bytes) -> None:
    bench.die("delete")
    one_line(
        bench.run(), 2, f"{VICTIM}: deleted before all its texts were generated", "delete the run folder"
    )
    (bench.folder / "die").unlink()
    one_line(bench.run(), 2, "lambda_grpo/seed_0: has checkpoints [0, 2, 6]", "delete the run folder")
    shutil.rmtree(bench.out / "runs/lambda_grpo/seed_0")
    done = bench.run()
    assert done.returncode == 0, done.stderr
    assert bench.table() == straight


@pytest.mark.slow
def test_two_runs_at_once(bench: Bench, straight: bytes) -> None:
    both = [bench.start(STUB_PAUSE="0.02") for _ in range(2)]
    ended = sorted((process.communicate(timeout=300)[1], process.returncode)[::-1] for process in both)
    assert ended[0] == (0, "")
    assert ended[1][0] == 2
    assert "another run is at work there; wait for it" in ended[1][1]
    assert bench.table() == straight


@pytest.mark.slow
def test_two_generators_share_the_work(bench: Bench, straight: bytes) -> None:
    assert bench.run().returncode == 0
    shutil.rmtree(bench.out / "samples")
    both = [bench.start("generate", STUB_PAUSE="0.02") for _ in range(2)]
    for process in both:
        _, told = process.communicate(timeout=300)
        assert process.returncode == 0, told
    held = open_store(bench.out).counts()
    assert sum(held.values()) == CHECKPOINTS * COMPLETIONS  # nothing twice, nothing missing
    assert bench.run().returncode == 0
    assert bench.table() == straight


@pytest.mark.slow
def test_a_jumping_clock(bench: Bench, straight: bytes) -> None:
    done = bench.run(STUB_JUMP="1")
    assert done.returncode == 0, done.stderr
    assert bench.table() == straight


@pytest.mark.slow
def test_a_torn_line_is_generated_again(bench: Bench, straight: bytes) -> None:
    kill_at_moments(lambda: bench.start(STUB_PAUSE="0.1"), 2, 9.0, random.Random(1))
    for path in (bench.out / "samples").glob("*.part"):
        with path.open("ab") as file:
            file.write(b'{"head":{"bytes":17')
    done = bench.run()
    assert done.returncode == 0, done.stderr
    assert bench.table() == straight


@pytest.mark.slow
def test_a_flipped_byte_is_named_and_can_be_repaired(bench: Bench, straight: bytes) -> None:
    assert bench.run().returncode == 0
    shutil.rmtree(bench.out / "grades")
    path = next((bench.out / "samples").glob("*.jsonl"))
    content = bytearray(path.read_bytes())
    content[content.index(b'"text":"') + 8] ^= 1
    path.write_bytes(content)
    one_line(bench.run(), 2, path.name, "store repair")
    repaired = bench.run("store", "repair")
    assert repaired.returncode == 0, repaired.stderr
    done = bench.run()
    assert done.returncode == 0, done.stderr
    assert bench.table() == straight


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_full_disk(bench: Bench, straight: bytes) -> None:
    """The disk has room for the runs and for half of the texts."""
    assert bench.run().returncode == 0
    size = sum(path.stat().st_blocks * 512 for path in bench.out.rglob("*"))
    shutil.rmtree(bench.out)
    bench.out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={int(size * 0.7)}", "none", str(bench.out)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not allow a mount")
    try:
        one_line(bench.run(), 7, "no space left", "make room and give the same command again")
        subprocess.run(["mount", "-o", f"remount,size={size * 4}", str(bench.out)], check=True)
        done = bench.run()
        assert done.returncode == 0, done.stderr
        assert bench.table() == straight
    finally:
        subprocess.run(["umount", str(bench.out)], check=True)


RULE = ("--set", "retention.keep_best=1", "--set", "retention.keep_last=1")


def left(bench: Bench) -> dict[str, list[str]]:
    """Return run -> names of the checkpoints that are still there."""
    return {
        f"{folder.parent.name} {folder.name}": sorted(
            path.name for path in (folder / "checkpoints").iterdir()
        )
        for folder in sorted((bench.out / "runs").glob("*/*"))
    }


def test_followed_checkpoints_are_let_go_and_the_table_stays(bench: Bench, straight: bytes) -> None:
    done = bench.run("run", "--follow", *RULE, STUB_PAUSE="0.05")
    assert done.returncode == 0, done.stderr
    assert bench.table() == straight
    ledger = [
        json.loads(line)
        for path in (bench.out / "runs").glob("*/*/ledger.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert len(ledger) + sum(map(len, left(bench).values())) == 4 * 4
    assert 4 <= len(ledger) <= 8
    for names in left(bench).values():
        assert {"step_000000", "step_000006"} <= set(names)
        assert len(names) <= 3
    before = left(bench)
    again = bench.run("run", *RULE)
    assert again.returncode == 0, again.stderr
    assert (bench.table(), left(bench)) == (straight, before)


@pytest.mark.slow
def test_the_rule_ends_the_same_without_following(bench: Bench, straight: bytes, tmp_path: Path) -> None:
    other = Bench(tmp_path / "followed")
    assert other.run("run", "--follow", *RULE).returncode == 0
    done = bench.run("run", *RULE)
    assert done.returncode == 0, done.stderr
    assert bench.table() == other.table() == straight
    assert left(bench) == left(other)


@pytest.mark.slow
def test_more_than_was_scored_of_a_deleted_checkpoint_is_refused(bench: Bench) -> None:
    assert bench.run("run", *RULE).returncode == 0
    done = bench.run("run", *RULE, "--set", "tasks=['sums1','add2']")
    one_line(done, 2, "scored and deleted by the retention rule", "delete the run folder")


@pytest.mark.slow
def test_killed_while_it_follows(bench: Bench, straight: bytes) -> None:
    rng = random.Random(11)
    killed = kill_at_moments(lambda: bench.start("run", "--follow", *RULE, STUB_PAUSE="0.05"), 4, 9.0, rng)
    assert killed >= 2
    done = bench.run("run", "--follow", *RULE)
    assert done.returncode == 0, done.stderr
    assert bench.table() == straight
    assert all(len(names) <= 3 for names in left(bench).values())


@pytest.mark.slow
def test_generate_follows_trainers_of_others(bench: Bench, straight: bytes) -> None:
    follower = bench.start("generate", "--follow")
    train = [sys.executable, str(ROOT / "tests/stubbed.py"), "train"]
    for arm, name in enumerate(("grpo", "lambda_grpo")):
        for seed in (0, 1):
            words = ["--out", str(bench.out / "runs" / name / f"seed_{seed}"), "--seed", str(seed)]
            subprocess.run(
                [*train, *words, "--arm", str(arm)], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True
            )
    _, told = follower.communicate(timeout=120)
    assert follower.returncode == 0, told
    assert sum(open_store(bench.out).counts().values()) == CHECKPOINTS * COMPLETIONS


def test_a_refused_command_leaves_no_claim(bench: Bench) -> None:
    """The trainer refuses: nothing was done, so another suite may have the folder."""
    code = "import sys; print('error: no', file=sys.stderr); sys.exit(2)"
    arm = f'summary = "x"\ncommand = ["{{python}}", "-c", {json.dumps(code)}]\n'
    (bench.folder / "arms.toml").write_text(f"[grpo]\n{arm}[lambda_grpo]\n{arm}")
    one_line(bench.run(), 2, "error: no")
    assert [path.name for path in bench.out.iterdir()] == [".lock"]


@pytest.mark.slow
def test_a_folder_may_grow(bench: Bench) -> None:
    """More seeds and tasks add what is missing and nothing else."""
    assert bench.run("run", "--set", "seeds=[0]").returncode == 0
    first = open_store(bench.out).counts()
    done = bench.run()
    assert done.returncode == 0, done.stderr
    held = open_store(bench.out).counts()
    assert {key: held[key] for key in first} == first
    assert sum(held.values()) == CHECKPOINTS * COMPLETIONS
    one_line(
        bench.run("run", "--set", "seeds=[0]"),
        2,
        "belongs to another configuration (seeds=[0, 1] there, [0] here)",
    )


@pytest.mark.exhaustive
def test_the_real_command_survives_kills(tmp_path: Path) -> None:
    """SIGKILL at 20 random moments of `python -m benchmark run smoke`, the same command after each."""

    def start(out: Path) -> subprocess.Popen[str]:
        words = ["run", "smoke", "--engine", "transformers", "--jobs", "2", "--out", str(out)]
        return subprocess.Popen(
            [sys.executable, "-m", "benchmark", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    begun = time.monotonic()
    process = start(tmp_path / "straight")
    _, told = process.communicate()
    wall_s = time.monotonic() - begun
    assert process.returncode == 0, told
    rng, killed = random.Random(17), 0
    out = tmp_path / "killed"
    while killed < 20:
        was = kill_at_moments(partial(start, out), 1, wall_s * 0.8, rng)
        killed += was
        if not was:  # whole: the next kills meet a new run
            same_tables(out, tmp_path / "straight")
            out = tmp_path / f"killed_{killed}"
    process = start(out)
    _, told = process.communicate()
    assert process.returncode == 0, told
    same_tables(out, tmp_path / "straight")


def tables(out: Path) -> dict[str, str]:
    """Return what equal runs share: file -> text, with the folder's own path left out of the command."""
    files = [*(out / "tables").rglob("*"), out / "report.md", out / "report.json", out / "report.tex"]
    return {
        str(path.relative_to(out)): path.read_text(encoding="utf-8").replace(str(out), "OUT")
        for path in files
        if path.is_file() and "seconds" not in path.stem  # another number every time
    }


def same_tables(out: Path, other: Path) -> None:
    mine, theirs = tables(out), tables(other)
    assert {"report.md", "report.json", "tables/differences_steps.csv"} <= theirs.keys()
    assert mine.keys() == theirs.keys()
    for name, text in theirs.items():
        assert mine[name] == text, name
