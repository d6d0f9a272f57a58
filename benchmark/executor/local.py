"""The executor of one machine: worker processes, replaced when they die, with an engine each."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from benchmark.executor import Failure, WorkItem
from benchmark.executor.leases import Leases
from benchmark.executor.worker import ITEM_FAILED
from benchmark.executor.worklist import end_launch, new_launch
from benchmark.launch import Children, Ended, Job, check, on_device
from benchmark.progress import say
from tasks.errors import INFRASTRUCTURE, USAGE, InfrastructureError

IDLE_DEATHS = 2
"""Workers in a row that may die with nothing in hand before there is something wrong with the machine."""
FEW = 3
"""Different items that took workers with them while none was finished: not the items, the machine."""


class LocalExecutor:
    """Worker processes on this machine (`benchmark.executor.Executor`)."""

    def __init__(self, out: Path, command: Sequence[str], workers: int, places: Sequence[str] = ()) -> None:
        """Make an empty list; workers start as soon as there are items.

        Args:
            out: the results folder.
            command: starts a worker; `--launch FOLDER --worker NAME` are added.
            workers: processes side by side.
            places: devices, given out in turn; none is the CPU.
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
        self._idle_deaths = 0

    def add(self, items: Sequence[WorkItem]) -> None:
        """Put items on the list."""
        new = [item for item in items if item.id not in self._worklist.items]
        if new:
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
            self._look_at(one)
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

    def _look_at(self, one: Ended) -> None:
        """Count what a worker died of, or raise what no other worker would do better."""
        if one.code == 0:
            return
        if one.code in (USAGE, INFRASTRUCTURE):
            check(one)
        held = self.leases.held_by(one.job.name)
        for item in held:
            self.leases.count_death(item, f"its worker ended with exit code {one.code} ({one.last})")
            self.leases.release(item)
        say(f"  generate: {one.job.name} ended with exit code {one.code} ({one.last}); another takes over")
        self._idle_deaths = 0 if held or one.code == ITEM_FAILED else self._idle_deaths + 1
        if self._idle_deaths >= IDLE_DEATHS:
            check(one)
        died_at = [name for name in self._worklist.items if self.leases.deaths(name)]
        if len(died_at) >= FEW and not self.done():
            raise InfrastructureError(
                f"workers die at every checkpoint and nothing was finished: {one.last}; see {one.job.log}"
            )
