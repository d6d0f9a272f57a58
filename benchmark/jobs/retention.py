"""Which checkpoints stay on the disk once they are scored: the rule, and a ledger of those that went.

The ledger lies in the run folder: who deletes that to train the run again deletes its lines too.

The order is what makes it safe: texts on the disk, grades on the disk, the ledger's line on the disk, then
the folder goes. A stop at any point leaves a checkpoint that is there, or one that everything is known about.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from tasks.checkpoints import Checkpoint
from tasks.errors import UserError
from tasks.files import append_line, to_disk
from tasks.settings import Settings

LEDGER = "ledger.jsonl"
ASIDE = ".deleted.tmp"


class Retention(Settings):
    """What a run keeps of its scored checkpoints. Step 0 and the newest one always stay."""

    keep_best: int = Field(default=1, ge=0)
    """As many as are best on validation (mean over the tasks); of equals the earlier."""
    keep_last: int = Field(default=1, ge=1)
    """As many of the newest."""
    keep_every: int = Field(default=0, ge=0)
    """Each n-th checkpoint, counted from step 0; 0 keeps none for that."""


def kept(rule: Retention, steps: Collection[int], validation: Mapping[int, float | None]) -> set[int]:
    """Return the steps that stay.

    Only what is scored can go. A checkpoint that has to go would have to go later as well, whatever comes
    after it: the end does not depend on when the rule was applied.

    Args:
        rule: of the suite.
        steps: of all checkpoints that the run has written so far, deleted ones included.
        validation: step -> mean accuracy on validation of what is scored; None could not be measured.

    >>> rule = Retention(keep_best=1, keep_last=2, keep_every=3)
    >>> sorted(kept(rule, range(0, 80, 10), {step: -abs(step - 20) for step in range(10, 80, 10)}))
    [0, 20, 30, 60, 70]
    """
    order = sorted(steps)
    known = [(step, value) for step, value in sorted(validation.items()) if value is not None]
    best = sorted(known, key=lambda one: (-one[1], one[0]))[: rule.keep_best]
    return {
        *order[:1],
        *order[-rule.keep_last :],
        *(step for step, _ in best),
        *(order[:: rule.keep_every] if rule.keep_every else ()),
        *(step for step in order if step not in validation),
    }


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """One line of the ledger."""

    step: int
    config_hash: str
    """Of the run: another run in the same place is none of this line's business."""
    weights: str
    tokenizer: str
    asking: str
    bytes: int
    validation: float | None
    config: str = ""
    decision: str = "deleted"

    def checkpoint(self, folder: Path) -> Checkpoint:
        """Return what was in the folder."""
        return Checkpoint(folder, self.weights, self.tokenizer, self.bytes, self.asking, self.config)


def delete(run: Path, line: Deleted) -> None:
    """Write a line into a run's ledger, then delete the checkpoint it names; call it when all is scored."""
    path, folder = run / LEDGER, _folder(run, line.step)
    _end_torn_line(path)
    append_line(path, json.dumps(vars(line), sort_keys=True))
    to_disk(run)
    folder.rename(folder.with_name(f".{folder.name}{ASIDE}"))  # under its own name it is whole or not there
    sweep_deleted(run)


def sweep_deleted(run: Path) -> None:
    """Delete what is left of checkpoints that were being deleted."""
    for aside in (run / "checkpoints").glob(f".step_*{ASIDE}"):
        shutil.rmtree(aside, ignore_errors=True)


def _folder(run: Path, step: int) -> Path:
    return run / "checkpoints" / f"step_{step:06d}"


def _end_torn_line(path: Path) -> None:
    """A line that a crash cut off was never acted on; the next one must not be glued to it."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)


def read_ledger(run: Path) -> list[Deleted]:
    """Return every line of a run's ledger; a torn last line was never acted on.

    Raises:
        UserError: another line is damaged.
    """
    path = run / LEDGER
    if not path.exists():
        return []
    *lines, _ = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return [_line(path, number, text) for number, text in enumerate(lines, start=1)]


def _line(path: Path, number: int, text: str) -> Deleted:
    try:
        record: dict[str, Any] = json.loads(text)
        line = Deleted(**record)
        if all(
            isinstance(value, str) and value for value in (line.config_hash, line.weights, line.tokenizer)
        ):
            return line
    except (ValueError, TypeError):
        pass
    raise UserError(
        f"{path}:{number}: not a line of the ledger, which names checkpoints that were scored and deleted: "
        "restore it from a copy, or delete the run folder to train it again"
    )


def deleted_of(run: Path, config_hash: str) -> dict[int, Checkpoint]:
    """Return step -> checkpoint of what the rule deleted from a run; the latest line of a step counts.

    Raises:
        UserError: the ledger is damaged.
    """
    return {
        line.step: line.checkpoint(_folder(run, line.step))
        for line in read_ledger(run)
        if line.config_hash == config_hash
    }
