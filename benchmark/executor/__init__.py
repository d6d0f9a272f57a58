"""The executor seam: work items, a command that works on them, and whoever runs that command N times.

An item is one checkpoint with everything that is asked of it, so that each checkpoint is loaded once. The
list of a launch is a file (`worklist`) and items are taken by lease (`leases`), so a worker needs nothing but
the results folder: `local` starts workers as processes on this machine, another executor may start the same
command on other ones that see the folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tasks.checkpoints import Checkpoint
from tasks.schema import Split


@dataclass(frozen=True)
class WorkItem:
    """One checkpoint and what it still has to answer."""

    checkpoint: Checkpoint
    units: tuple[tuple[str, Split], ...]
    """Tasks and splits."""
    completions: int
    """How many are missing."""

    @property
    def id(self) -> str:
        """Name of its files: the same checkpoint is the same item, in every launch and folder."""
        return self.checkpoint.id


@dataclass(frozen=True)
class Failure:
    """An item that is not done, and why."""

    item: str
    label: str
    """The checkpoint, for a person."""
    reason: str


class Executor(Protocol):
    """Workers at work on items: an `Activity` of `benchmark.jobs.launch`, looked after until it is done."""

    def add(self, items: Sequence[WorkItem]) -> None:
        """Put more items on the list; ones that are on it already change nothing."""

    def close(self) -> None:
        """Say that no more items come: workers end when the list is done."""

    def step(self) -> bool:
        """Look after the workers once; return whether the list is closed and done.

        Raises:
            UserError: a worker found a mistake that a person has to mend.
            InfrastructureError: the machine fails, not an item.
        """

    def stop(self) -> None:
        """Stop the workers; what they finished is on disk."""

    def done(self) -> set[str]:
        """Return the ids of the items that are finished."""

    def completions(self) -> int:
        """Return how many completions the workers have put on disk so far."""

    def failures(self) -> list[Failure]:
        """Return the items of the list that are quarantined."""
