"""The executor of one machine: worker processes, replaced when they die, with an engine each."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmark.executor import Failure, WorkItem
from benchmark.executor.leases import Leases
from benchmark.executor.worker import ITEM_FAILED
from benchmark.executor.worklist import end_launch, new_launch
from benchmark.jobs.launch import Children, Ended, Job, check, on_device
from benchmark.jobs.progress import say
from tasks.errors import INFRASTRUCTURE, USAGE, InfrastructureError

IDLE_DEATHS = 2
"""Workers in a row that may die with nothing in hand before there is something wrong with the machine."""
FEW = 3
"""Different items that took workers with them while none was finished: not the items, the machine."""
STUCK_S = 12 * 3600.0
"""A worker with an item in hand that puts nothing on the disk for so long hangs, and is ended: its lease
would beat for ever. A block on a GPU has 16384 completions as a rule; this leaves 2.6 s for each."""
LOOK_S = 60.0
"""Between two looks for such workers."""


class LocalExecutor:
    """Worker processes on this machine (`benchmark.executor.Executor`)."""

    def __init__(
        self,
        out: Path,
        command: Sequence[str],
        workers: int,
        places: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make an empty list; workers start as soon as there are items.

        Args:
            out: the results folder.
            command: starts a worker; `--launch FOLDER --worker NAME` are added.
            workers: processes side by side.
            places: devices, given out in turn; none is the CPU.
            clock: goes forward, in seconds.
        """
        self.leases = Leases(out)
        self._out = out
        self._command = list(command)
        self._workers = workers
        self._places = places
        self._worklist, self._lock = new_launch(self.leases.folder)
        self.leases.release_dead()
        self._children = Children()
        self._slots: dict[str, int] = {}
        """Worker -> which of the places it has."""
        self._clock = clock
        self._moved: dict[str, tuple[object, float]] = {}
        """Worker -> what it held and had done, and since when."""
        self._next_look = 0.0
        self._died_before: dict[str, int] = {}
        """Item -> deaths that earlier launches have counted."""
        self._idle_deaths = 0

    def add(self, items: Sequence[WorkItem]) -> None:
        """Put items on the list."""
        new = [item for item in items if item.id not in self._worklist.items]
        if new:
            self._died_before |= {item.id: len(self.leases.deaths(item.id)) for item in new}
            self._worklist.add(new)
            self._worklist.refresh()

    def retry(self, items: Sequence[str]) -> None:
        """Take items out of their quarantine."""
        for item in items:
            self.leases.forgive(item)

    def close(self) -> None:
        """Say that no more items come."""
        if not self._worklist.closed:
            self._worklist.close()
            self._worklist.refresh()

    def step(self) -> bool:
        """Replace workers that ended while something is left; see `Executor.step`."""
        for one in self._children.ended():
            self._slots.pop(one.job.name)
            self._moved.pop(one.job.name, None)
            self._look_at(one)
        self._end_stuck()
        left = self._left()
        free = [slot for slot in range(self._workers) if slot not in self._slots.values()]
        for slot in free[: max(0, len(left) - len(self._children))]:
            self._start(slot)
        return self._worklist.closed and not left and not self._children

    def stop(self) -> None:
        """Stop the workers and forget the list; leases of workers that had to be killed are released."""
        self._children.stop()
        self.leases.release_dead()
        end_launch(self._worklist, self._lock)

    def done(self) -> set[str]:
        """Return the ids of the items that are finished."""
        return self._worklist.finished()

    def completions(self) -> int:
        """Return how many completions the workers have put on disk so far."""
        return self._worklist.counted()

    def failures(self) -> list[Failure]:
        """Return the items of the list that are quarantined."""
        found = ((item, self.leases.quarantined(name)) for name, item in self._worklist.items.items())
        return [
            Failure(item.id, str(item.checkpoint.folder), reason)
            for item, reason in found
            if reason is not None
        ]

    def _left(self) -> list[str]:
        finished = self._worklist.finished()
        return [
            name
            for name in self._worklist.items
            if name not in finished and self.leases.quarantined(name) is None
        ]

    def _start(self, slot: int) -> None:
        name = f"engine-{slot + 1}-{secrets.token_hex(3)}"  # unlike any worker of another launch
        self._slots[name] = slot
        self._children.start(
            Job(
                name=name,
                command=[*self._command, "--launch", str(self._worklist.folder), "--worker", name],
                log=self._out / "logs" / f"generate_{slot}.log",
                environment=on_device(self._places, slot),
            )
        )

    def _end_stuck(self) -> None:
        """Kill workers that have had something in hand for `STUCK_S` and added nothing to the store."""
        now = self._clock()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_S
        for name in self._slots:
            sign = (self.leases.held_by(name), self._worklist.counted(name))
            before, since = self._moved.setdefault(name, (sign, now))
            if before != sign:
                self._moved[name] = (sign, now)
            elif sign[0] and now - since >= STUCK_S:
                say(f"  generate: {name} has put nothing on the disk for {STUCK_S / 3600:g} h; it is ended")
                self._children.kill(name)

    def _look_at(self, one: Ended) -> None:
        """Count what a worker died of, or raise what no other worker would do better."""
        if one.code == 0:
            return
        if one.code in (USAGE, INFRASTRUCTURE):
            check(one)
        held = self.leases.bury(one.job.name, f"its worker ended with exit code {one.code} ({one.last})")
        say(f"  generate: {one.job.name} ended with exit code {one.code} ({one.last}); another takes over")
        self._idle_deaths = 0 if held or one.code == ITEM_FAILED else self._idle_deaths + 1
        if self._idle_deaths >= IDLE_DEATHS:
            check(one)
        died_at = [
            name for name, before in self._died_before.items() if len(self.leases.deaths(name)) > before
        ]
        if len(died_at) >= FEW and not self.done():
            raise InfrastructureError(
                f"workers die at every checkpoint and nothing was finished: {one.last}; see {one.job.log}"
            )
