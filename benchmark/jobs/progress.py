"""One live line per stage for a person, sparse lines for a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

EVERY_S = 30.0
"""Seconds between two lines of a stage in a file."""


def say(line: str) -> None:
    """Print a line of progress for a log file; in a terminal the live line says it all."""
    if not sys.stdout.isatty():
        print(line, flush=True)


def tell(text: str) -> None:
    """Print what a person has to know, wherever that goes."""
    print(text, flush=True)


class Stage:
    """How far one stage is."""

    def __init__(self, bars: Progress, title: str, total: int, unit: str) -> None:
        """Begin a stage of `total` units."""
        self.title = title
        self._bars = bars
        self._bar: TaskID = bars.add_task(title, total=total, unit=unit)
        self._total, self._unit = total, unit
        self._began = self._said = time.monotonic()
        self._first: int | None = None
        self._over = False

    def update(self, done: int, total: int | None = None) -> None:
        """Show that `done` units are done, of a new total where more work was found."""
        self._total = self._total if total is None else total
        if self._first is None:
            self._first = done  # what was there before says nothing about how long the rest takes
        self._bars.update(self._bar, completed=done, total=self._total)
        now = time.monotonic()
        over = self._total > 0 and done >= self._total
        if (over and not self._over) or (now - self._said >= EVERY_S and not over):
            self._said = now
            say(f"  {self.title}: {done}/{self._total} {self._unit}{self._left(done, now)}".rstrip())
        self._over = over

    def _left(self, done: int, now: float) -> str:
        fresh = done - (self._first or 0)
        if done >= self._total:
            return f", {timedelta(seconds=round(now - self._began))}"
        if not fresh:
            return ""
        seconds = (now - self._began) / fresh * (self._total - done)
        return f", about {timedelta(seconds=round(seconds))} left"


class Shown:
    """The live lines of a command."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars

    def stage(self, title: str, total: int, unit: str = "") -> Stage:
        """Add the line of a stage."""
        return Stage(self._bars, title, total, unit)


@contextmanager
def progress() -> Iterator[Shown]:
    """Show live lines in a terminal while the block runs; in a file there are only those of `say`."""
    columns = (
        TextColumn("{task.description:<10s}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(), disable=not sys.stdout.isatty()) as bars:
        yield Shown(bars)
