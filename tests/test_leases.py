"""Leases: one holder at a time, death seen by counters that stand still, never by a clock of the day."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.executor import leases as module
from benchmark.executor.leases import LEASE_S, Leases

ROOT = Path(__file__).parent.parent


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1e6

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_an_item_has_one_holder(tmp_path: Path) -> None:
    mine, other = Leases(tmp_path), Leases(tmp_path)
    lease = mine.take("a", "one")
    assert lease is not None
    assert other.take("a", "two") is None
    assert mine.held_by("one") == ["a"]
    assert mine.held_by("two") == []
    assert other.take("b", "two") is not None
    lease.__exit__(None, None, None)
    assert other.take("a", "two") is not None


def test_a_lease_whose_counter_stands_still_is_dead(tmp_path: Path, clock: Clock) -> None:
    holder, watcher = Leases(tmp_path), Leases(tmp_path, clock)
    assert holder.take("a", "one") is not None
    assert not watcher.watch("a")
    clock.now += LEASE_S - 1
    assert not watcher.watch("a")
    clock.now += 1
    assert watcher.watch("a")
    assert watcher.take("a", "two") is not None
    assert watcher.deaths("a") == [f"no sign of life from its worker for {LEASE_S:g} s"]


def test_a_lease_that_beats_lives_however_long(tmp_path: Path, clock: Clock) -> None:
    holder, watcher = Leases(tmp_path), Leases(tmp_path, clock)
    assert holder.take("a", "one") is not None
    for _ in range(5):
        assert not watcher.watch("a")
        with (tmp_path / "leases" / "a.lease").open("ab") as file:
            file.write(b".")
        clock.now += LEASE_S + 1
    assert not watcher.watch("a")
    assert watcher.deaths("a") == []


def test_the_holder_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.01)
    lease, path = Leases(tmp_path).take("a", "one"), tmp_path / "leases" / "a.lease"
    assert lease is not None
    before, deadline = path.stat().st_size, time.monotonic() + 10
    while path.stat().st_size < before + 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert Leases(tmp_path).held_by("one") == ["a"]


def test_a_jumping_clock_changes_nothing(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the time of day nor the times of files are looked at."""
    holder, watcher = Leases(tmp_path), Leases(tmp_path, clock)
    assert holder.take("a", "one") is not None
    for jump in (-1e9, 1e9):
        monkeypatch.setattr(time, "time", lambda jump=jump: 1.7e9 + jump)
        os.utime(tmp_path / "leases" / "a.lease", (1.7e9 + jump, 1.7e9 + jump))
        clock.now += 1
        assert not watcher.watch("a")
    assert watcher.deaths("a") == []


def test_a_lease_that_was_taken_over_is_not_released_by_its_old_holder(tmp_path: Path) -> None:
    mine, other = Leases(tmp_path), Leases(tmp_path)
    lease = mine.take("a", "one")
    assert lease is not None
    other.release("a")
    assert other.take("a", "two") is not None
    lease.__exit__(None, None, None)
    assert other.held_by("two") == ["a"]


def test_what_a_killed_process_held_is_released_and_not_counted(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from benchmark.executor.leases import Leases\n"
        "lease = Leases(Path(sys.argv[1])).take('a', 'one'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    mine = Leases(tmp_path)
    assert mine.held_by("one") == ["a"]
    living = mine.take("b", "me")
    mine.release_dead()
    assert mine.held_by("one") == []
    assert mine.held_by("me") == ["b"]
    assert mine.deaths("a") == []
    assert living is not None


def test_a_lease_of_another_machine_is_left_to_its_counter(tmp_path: Path) -> None:
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases" / "a.lease").write_text('{"worker": "one", "host": "elsewhere"}\n..')
    Leases(tmp_path).release_dead()
    assert Leases(tmp_path).held_by("one") == ["a"]


def test_the_second_death_quarantines(tmp_path: Path) -> None:
    mine = Leases(tmp_path)
    mine.count_death("a", "exit code -9")
    assert mine.quarantined("a") is None
    assert Leases(tmp_path).deaths("a") == ["exit code -9"]  # another process knows
    mine.count_death("a", "exit code 1")
    assert mine.quarantined("a") == "exit code 1"
    assert mine.quarantined("b") is None
    mine.forgive("a")
    assert mine.quarantined("a") is None
    assert mine.deaths("a") == []


def test_a_torn_line_was_a_death(tmp_path: Path) -> None:
    mine = Leases(tmp_path)
    mine.count_death("a", "exit code -9")
    path = tmp_path / "leases" / "a.deaths.jsonl"
    path.write_text(path.read_text()[:-5])
    assert mine.deaths("a") == ["a torn line"]
    (tmp_path / "leases" / "b.quarantined").write_text("{")
    assert mine.quarantined("b") == "its note is damaged"
