"""What a worker does with an item: hold the checkpoint in the engine, answer what is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmark.executor import WorkItem
from benchmark.store import Sample, Store, Writer, sample_key
from benchmark.suite import Suite
from benchmark.texts.generate import generate_unit, measurable, sample_request, wanted_samples
from benchmark.texts.serving import Serving
from tasks.checkpoints import Checkpoint
from tasks.errors import UserError


def work_items(suite: Suite, checkpoints: Sequence[Checkpoint], store: Store, engine: str) -> list[WorkItem]:
    """Return what has not all of its texts yet, one item a checkpoint, so that each is loaded once.

    Raises:
        UserError: a shard of the store is damaged.
    """
    counts = store.counts()
    items = []
    for checkpoint in checkpoints:
        units, missing = [], 0
        for task, split in measurable(suite):
            key = sample_key(sample_request(suite, checkpoint, task, split, engine))
            wanted = wanted_samples(suite, task, split)
            lacking = len(wanted - store.held(key)) if counts.get(key) else len(wanted)
            if lacking:
                units.append((task, split))
                missing += lacking
        if units and not checkpoint.folder.is_dir():
            raise UserError(
                f"{checkpoint.folder}: scored and deleted by the retention rule, and the suite wants more of "
                f"its texts now ({' '.join(units[0])}); ask for what was asked then, or delete the run "
                f"folder {checkpoint.folder.parent.parent} to train it again"
            )
        if units:
            items.append(WorkItem(checkpoint, tuple(units), missing))
    return items


class Answering:
    """One engine that answers item after item. A worker calls it for each item that it has leased."""

    def __init__(
        self, suite: Suite, engine: str, store: Store, writer: Writer, count: Callable[[int], None]
    ) -> None:
        """Open no engine yet: a worker that finds nothing to do needs none.

        Args:
            suite: what is asked.
            engine: "transformers" or "vllm".
            store: of the results folder.
            writer: this worker's shard.
            count: is told how many completions each block has put on disk.
        """
        self._suite = suite
        self._engine = engine
        self._store = store
        self._writer = _Counting(writer, count)
        self._serving: Serving | None = None

    def __call__(self, item: WorkItem) -> None:
        """Put the missing texts of an item on disk.

        Raises:
            UserError: its checkpoint is not there any more.
        """
        checkpoint = item.checkpoint
        missing = []
        for task, split in item.units:
            key = sample_key(sample_request(self._suite, checkpoint, task, split, self._engine))
            held = self._store.held(key)
            if wanted_samples(self._suite, task, split) - held:
                missing.append((task, split, held))
        if not missing:  # another launch was faster
            return
        try:
            serving = self._hold(checkpoint)
            for task, split, held in missing:
                generate_unit(self._suite, checkpoint, task, split, serving, self._writer, held)
        except Exception as error:
            if not (checkpoint.folder / "config.json").exists():
                raise gone(checkpoint.folder) from error
            raise

    def close(self) -> None:
        """Release the engine."""
        if self._serving is not None:
            self._serving.close()

    def _hold(self, checkpoint: Checkpoint) -> Serving:
        if self._serving is None:
            self._serving = Serving(
                self._engine,
                checkpoint.folder,
                {task: self._suite.decoding(task) for task, _ in measurable(self._suite)},
                dtype=self._suite.dtype,
                max_sequences=self._suite.max_sequences,
            )
        self._serving.load(checkpoint)
        return self._serving


class _Counting(Writer):
    """A writer that says how many samples it has put on disk."""

    def __init__(self, writer: Writer, count: Callable[[int], None]) -> None:
        self._writer = writer
        self._count = count

    def append(self, request: dict[str, Any], effective: dict[str, Any], samples: list[Sample]) -> None:
        """Add a block, see `Writer.append`."""
        self._writer.append(request, effective, samples)
        self._count(len(samples))


def gone(folder: Path) -> UserError:
    """Return the error for a checkpoint that somebody deleted while its texts were missing."""
    return UserError(
        f"{folder}: deleted before all its texts were generated; put it back, or delete the run folder "
        f"{folder.parent.parent} and give the same command again to train it anew"
    )
