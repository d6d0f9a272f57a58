"""Leases: one holder at a time, death seen by counters that stand still, never by a clock of the day."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.executor import WorkItem
from benchmark.executor import leases as module
from benchmark.executor.leases import LEASE_S, Leases
from benchmark.executor.local import LOOK_S, STUCK_S, LocalExecutor
from benchmark.executor.worker import ITEM_FAILED, work
from benchmark.executor.worklist import end_launch, new_launch
from benchmark.jobs.launch import Ended, Job
from tasks.checkpoints import Checkpoint
from tasks.errors import InfrastructureError

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
    assert other.bury("one", "exit code -9") == ["a"]
    assert other.take("a", "two") is not None
    lease.__exit__(None, None, None)
    assert other.held_by("two") == ["a"]


def test_of_two_watchers_one_counts_a_death(tmp_path: Path, clock: Clock) -> None:
    """The second one looks while the first one is at it: one death is no quarantine."""
    holder, other = Leases(tmp_path), Leases(tmp_path, clock)

    class Slow(Leases):
        def count_death(self, item: str, reason: str) -> None:
            assert other.watch(item)
            super().count_death(item, reason)

    watcher = Slow(tmp_path, clock)
    assert holder.take("a", "one") is not None
    assert not watcher.watch("a")
    assert not other.watch("a")
    clock.now += LEASE_S
    assert watcher.watch("a")
    assert len(watcher.deaths("a")) == 1
    assert watcher.quarantined("a") is None
    assert [path.name for path in (tmp_path / "leases").iterdir()] == ["a.deaths.jsonl"]


def test_a_lease_that_changed_hands_stays(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at a dead lease and its removal somebody else has done both."""
    holder, watcher = Leases(tmp_path), Leases(tmp_path, clock)
    assert holder.take("a", "one") is not None
    assert not watcher.watch("a")
    old = watcher._sign("a")
    assert holder.bury("one", "exit code -9") == ["a"]
    assert holder.take("a", "two") is not None
    monkeypatch.setattr(watcher, "_sign", lambda item: old)
    clock.now += LEASE_S
    watcher.watch("a")
    assert holder.held_by("two") == ["a"]
    assert watcher.deaths("a") == ["exit code -9"]


def test_a_lease_is_locked_before_anybody_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another launch sweeps dead leases between the making of one and its lock."""
    mine, other, real = Leases(tmp_path), Leases(tmp_path), fcntl.flock

    def flock(descriptor: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        other.release_dead()
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    taken = [mine.take("a", "one"), other.take("a", "two")]
    assert sum(one is not None for one in taken) == 1
    for one in taken:
        if one is not None:
            one.__exit__(None, None, None)
    assert list((tmp_path / "leases").iterdir()) == []


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


def item(name: str) -> WorkItem:
    return WorkItem(Checkpoint(Path(name), name * 64, "t", 1), (), 1)


def test_a_full_disk_is_no_item_s_fault(tmp_path: Path) -> None:
    """Whatever meets it: an engine's cache raises a plain OSError."""
    leases = Leases(tmp_path)
    worklist, lock = new_launch(leases.folder)
    worklist.add([item("a")])

    def full(one: WorkItem) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for _ in range(2):
        with pytest.raises(InfrastructureError, match=r"a: no room on a disk .*make room"):
            work(worklist, leases, "one", full)
    assert leases.deaths(item("a").id) == []
    end_launch(worklist, lock)


def test_a_list_on_a_full_disk_says_so(tmp_path: Path) -> None:
    worklist, lock = new_launch(tmp_path)
    (worklist.folder / "done").symlink_to("/dev/full")
    with pytest.raises(InfrastructureError, match="done: not written, no space left"):
        worklist.finish("a")
    end_launch(worklist, lock)


def test_deaths_of_earlier_launches_do_not_condemn_the_machine(tmp_path: Path) -> None:
    names = [item(name).id for name in "abc"]
    for name in names[:2]:
        Leases(tmp_path).count_death(name, "exit code -9")
    executor = LocalExecutor(tmp_path, [], 1)
    executor.add([item(name) for name in "abc"])
    ended = Ended(Job(name="one", command=[], log=tmp_path / "log"), ITEM_FAILED, ["failed: x"])
    executor.leases.count_death(names[2], "x")
    executor._look_at(ended)
    for name in names[:2]:
        executor.leases.count_death(name, "x")
    with pytest.raises(InfrastructureError, match="workers die at every checkpoint"):
        executor._look_at(ended)
    executor.stop()


def test_a_worker_that_hangs_is_ended(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its lease beats on; what it has put on the disk stands still."""
    code = (
        "import sys, time; from pathlib import Path; from benchmark.executor.leases import Leases\n"
        "lease = Leases(Path(sys.argv[1])).take(sys.argv[2], sys.argv[-1]); time.sleep(600)"
    )
    one = item("a")
    executor = LocalExecutor(tmp_path, [sys.executable, "-c", code, str(tmp_path), one.id], 1, clock=clock)
    try:
        executor.add([one])
        wait_until(lambda: not executor.step() and any((tmp_path / "leases").glob("*.lease")))
        (worker,) = executor._slots
        for _ in range(2):  # it is seen at work, and then it moves
            clock.now += LOOK_S
            executor.step()
            executor._worklist.count(worker, 4)
            clock.now += STUCK_S - LOOK_S
            executor.step()
        assert executor.leases.deaths(one.id) == []
        clock.now += STUCK_S
        executor.step()
        wait_until(lambda: not executor.step() and bool(executor.leases.deaths(one.id)))
        assert "has put nothing on the disk for 12 h" in capsys.readouterr().out
        assert "exit code -9" in executor.leases.deaths(one.id)[0]
    finally:
        executor.stop()


def wait_until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.02)
