"""The loop of one worker: take an item, do it, say so, until the list is closed and done."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmark.executor import WorkItem
from benchmark.executor.leases import Lease, Leases
from benchmark.executor.worklist import Worklist
from tasks.errors import InfrastructureError, Interrupted, UserError
from tasks.files import disk_is_full

PAUSE_S = 0.5
"""Seconds between two looks at a list whose items are all in other hands."""
ITEM_FAILED = 3
"""Exit code of a worker that failed at an item and has counted that: another process goes on with a clean
engine."""


class ItemFailed(Exception):
    """An item ended in an error that is its own; the death is counted."""


def work(
    worklist: Worklist,
    leases: Leases,
    worker: str,
    perform: Callable[[WorkItem], None],
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Do items until none is left to do.

    An item that somebody else finishes meanwhile is done; one that was begun twice is in the store once.

    Args:
        worklist: of the launch.
        leases: of the results folder.
        worker: name of this process, unlike any other's.
        perform: does one item; what it has finished is on disk when it returns.
        pause: waits some seconds.

    Raises:
        UserError, InfrastructureError: a mistake of the user, or a full disk: no item's fault.
        ItemFailed: everything else that `perform` raises.
    """
    while True:
        worklist.refresh()
        finished = worklist.finished()
        left = [
            item
            for name, item in worklist.items.items()
            if name not in finished and leases.quarantined(name) is None
        ]
        if not left:
            if worklist.closed:
                return
            pause(PAUSE_S)
            continue
        taken = _take(left, worklist, leases, worker)
        if taken is None:
            pause(PAUSE_S)
            continue
        item, lease = taken
        with lease:
            _do(item, leases, perform)
            worklist.finish(item.id)


def _take(
    left: list[WorkItem], worklist: Worklist, leases: Leases, worker: str
) -> tuple[WorkItem, Lease] | None:
    """Take the first item that is free; look after the leases of the others."""
    for item in left:
        if leases.watch(item.id) and (lease := leases.take(item.id, worker)):
            if item.id not in worklist.finished():  # it was in other hands a moment ago
                return item, lease
            lease.__exit__(None, None, None)
    return None


def _do(item: WorkItem, leases: Leases, perform: Callable[[WorkItem], None]) -> None:
    try:
        perform(item)
    except (UserError, Interrupted):
        raise
    except Exception as error:
        if isinstance(error, InfrastructureError) and disk_is_full(error):
            raise
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        if disk_is_full(error):  # of a cache or a temporary folder, say
            raise InfrastructureError(
                f"{item.checkpoint.folder}: no room on a disk ({reason}); make room and give the same "
                "command again, what was finished is kept"
            ) from error
        leases.count_death(item.id, reason)
        raise ItemFailed(reason) from error
    leases.forgive(item.id)
