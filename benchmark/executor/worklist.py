"""The list of one launch: what there is to do, what is done, how far it is. A folder of append-only files.

OUT/leases/launch-XXXX/items.jsonl   one item a line, the last line says that no more come
OUT/leases/launch-XXXX/done          one id a line
OUT/leases/launch-XXXX/N.count       how many completions worker N has put on disk

It lives as long as its launch: nothing in it has to survive a crash, for the store knows what is there.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO

from benchmark.executor import WorkItem
from tasks.checkpoints import Checkpoint
from tasks.files import writing

END = "end"


class Worklist:
    """One launch's list, as its launcher or one of its workers sees it."""

    def __init__(self, folder: Path) -> None:
        """Look at the folder of a launch."""
        self.folder = folder
        self.items: dict[str, WorkItem] = {}
        self.closed = False
        self._read = 0

    def refresh(self) -> None:
        """Read what was added since the last time; a line that is still being written waits."""
        with (self.folder / "items.jsonl").open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            record = json.loads(line)
            if record == END:
                self.closed = True
            else:
                item = _item(record)
                self.items[item.id] = item

    def add(self, items: Sequence[WorkItem]) -> None:
        """Append items."""
        self._append("items.jsonl", "".join(json.dumps(_record(item)) + "\n" for item in items))

    def close(self) -> None:
        """Say that no more items come."""
        self._append("items.jsonl", json.dumps(END) + "\n")

    def finish(self, item: str) -> None:
        """Say that an item is done."""
        self._append("done", f"{item}\n")

    def finished(self) -> set[str]:
        """Return the ids of items that are done."""
        path = self.folder / "done"
        return set(path.read_text().split()) if path.exists() else set()

    def count(self, worker: str, completions: int) -> None:
        """Add to what a worker has put on disk."""
        self._append(f"{worker}.count", f"{completions}\n")

    def counted(self, worker: str = "*") -> int:
        """Return how many completions a worker, or all of them, have put on disk."""
        return sum(
            int(number)
            for path in self.folder.glob(f"{worker}.count")
            for number in path.read_text().rpartition("\n")[0].split()
        )

    def _append(self, name: str, text: str) -> None:
        path = self.folder / name
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(text)


def _record(item: WorkItem) -> dict[str, object]:
    found = asdict(item)
    found["checkpoint"]["folder"] = str(item.checkpoint.folder)
    return found


def _item(record: dict[str, object]) -> WorkItem:
    values = dict(record["checkpoint"])  # type: ignore[call-overload]
    units = tuple((task, split) for task, split in record["units"])  # type: ignore[attr-defined]
    checkpoint = Checkpoint(**{**values, "folder": Path(values["folder"])})
    return WorkItem(checkpoint, units, int(record["completions"]))  # type: ignore[call-overload]


def new_launch(leases: Path) -> tuple[Worklist, IO[str]]:
    """Make the folder of a launch; the open file keeps it from being swept while this process lives."""
    leases.mkdir(parents=True, exist_ok=True)
    _sweep(leases)
    with writing(leases):
        made = Path(tempfile.mkdtemp(prefix=".launch-", dir=leases))
        lock = (made / ".lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        (made / "items.jsonl").touch()
        folder = made.rename(leases / made.name.removeprefix("."))  # only now is it seen by `_sweep`
    return Worklist(folder), lock


def end_launch(worklist: Worklist, lock: IO[str]) -> None:
    """Delete the folder of a launch that is over."""
    shutil.rmtree(worklist.folder, ignore_errors=True)
    lock.close()


def _sweep(leases: Path) -> None:
    """Delete the folders of launches that were killed."""
    for folder in leases.glob("launch-*"):
        with suppress(OSError):
            descriptor = os.open(folder / ".lock", os.O_WRONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
