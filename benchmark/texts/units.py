"""What a suite wants to know: its units, one for each distinct checkpoint, task and split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmark.jobs.runs import TrainedRun, distinct_checkpoints
from benchmark.store import sample_key
from benchmark.suite import Suite
from benchmark.texts.generate import measurable, sample_request
from tasks.checkpoints import Checkpoint
from tasks.schema import Split


class WantedUnit(NamedTuple):
    """The samples of one checkpoint's weights on one split."""

    key: str
    checkpoint: Checkpoint
    task: str
    split: Split
    request: dict[str, Any]

    def __str__(self) -> str:
        """Name it as a person would look for it."""
        return f"{self.checkpoint.folder}, {self.task} {self.split}"


def wanted_unit(suite: Suite, checkpoint: Checkpoint, task: str, split: Split, engine: str) -> WantedUnit:
    """Return one unit of a suite."""
    request = sample_request(suite, checkpoint, task, split, engine)
    return WantedUnit(sample_key(request), checkpoint, task, split, request)


def wanted_units(suite: Suite, runs: Sequence[TrainedRun], engine: str) -> list[WantedUnit]:
    """Return every unit of a suite whose items are on this machine; the untrained policy stands once."""
    return [
        wanted_unit(suite, checkpoint, task, split, engine)
        for checkpoint in distinct_checkpoints(list(runs))
        for task, split in measurable(suite)
    ]
