"""Commands side by side: started, watched, stopped cleanly. No failure is dropped."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from benchmark.jobs.progress import Stage, progress, say
from tasks.errors import USAGE, InfrastructureError, UserError

POLL_S = 0.2
GRACE_S = 30.0
"""How long a child may take to stop before it is killed."""
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Job:
    """One command."""

    name: str
    command: list[str]
    log: Path
    """Where its output goes."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What it is told beside what this process was."""


class _Running(NamedTuple):
    job: Job
    process: subprocess.Popen[bytes]
    log_start: int
    """Where this attempt's output begins; the log keeps that of earlier ones."""


class Ended(NamedTuple):
    """A child that is no more."""

    job: Job
    code: int
    """Negative is the signal that ended it."""
    lines: list[str]
    """What this attempt wrote."""

    @property
    def last(self) -> str:
        """Return its last words."""
        return self.lines[-1] if self.lines else "no output"


class Children:
    """Child processes of one block."""

    def __init__(self) -> None:
        self._running: list[_Running] = []

    def __len__(self) -> int:
        return len(self._running)

    def start(self, job: Job) -> None:
        """Start a command; Ctrl-C and SIGTERM wait until it is noted."""
        with _signals_put_off():
            self._running.append(_start(job))

    def ended(self) -> Iterator[Ended]:
        """Yield every child that has ended since the last call, once."""
        for one in list(self._running):
            if one.process.poll() is not None:
                self._running.remove(one)
                yield Ended(one.job, one.process.returncode, _lines(one))

    def kill(self, name: str) -> None:
        """End a child that would not answer if it were asked to."""
        for one in self._running:
            if one.job.name == name:
                one.process.kill()

    def stop(self) -> None:
        """Ask every child to stop, and end those that do not."""
        _stop([one.process for one in self._running])
        self._running.clear()


class Activity(Protocol):
    """Something that is looked after a few times a second until it is done."""

    def step(self) -> bool:
        """Look after it once; return whether all of it is done."""

    def stop(self) -> None:
        """End what it has started."""


def drive(activities: Sequence[Activity]) -> None:
    """Look after activities until all are done; whatever ends this, none of their children stays behind."""
    try:
        while not all([one.step() for one in activities]):  # a list: every one has its turn
            time.sleep(POLL_S)
    finally:
        for one in activities:
            one.stop()


class Queue:
    """Jobs that wait for a place; the first failure ends all."""

    def __init__(
        self, jobs: Sequence[Job], workers: int, stage: Stage, done: Callable[[], int], places: Sequence[str]
    ) -> None:
        """Take the jobs; see `run_jobs`. `places` are the devices, given out in turn; none is the CPU."""
        self._waiting = list(jobs)
        self._workers = workers
        self._stage = stage
        self._done = done
        self._free = [on_device(places, at) for at in range(workers)]
        self._children = Children()
        self._held: dict[str, dict[str, str]] = {}
        self.over = False
        """Whether every job has ended."""

    def step(self) -> bool:
        """Start what has a place, and check what has ended."""
        for one in self._children.ended():
            self._free.append(self._held.pop(one.job.name))
            check(one)
            say(f"  {self._stage.title}: {one.job.name} done")
        while self._waiting and self._free:
            job, place = self._waiting.pop(0), self._free.pop(0)
            self._held[job.name] = place
            self._children.start(
                Job(name=job.name, command=job.command, log=job.log, environment={**job.environment, **place})
            )
        self._stage.update(self._done())
        self.over = not self._waiting and not self._children
        return self.over

    def stop(self) -> None:
        """Stop the children."""
        self._children.stop()


def run_jobs(
    jobs: Sequence[Job],
    workers: int,
    title: str,
    done: Callable[[], int],
    total: int,
    places: Sequence[str] = (),
) -> None:
    """Run every job, at most `workers` at a time; the first failure stops the others.

    Args:
        jobs: what to run.
        workers: how many at a time.
        title: what the progress line says.
        done: returns how much of `total` is done by now.
        total: the whole of it.
        places: devices, given out in turn.

    Raises:
        UserError: a job ended with exit code 2; its own message is passed on.
        InfrastructureError: a job failed otherwise; the message names its log.
    """
    with progress() as show:
        drive([Queue(jobs, workers, show.stage(title, total), done, places)])


def on_device(places: Sequence[str], at: int) -> dict[str, str]:
    """Return the environment of the `at`-th process: its device, in turn."""
    return {"CUDA_VISIBLE_DEVICES": places[at % len(places)]} if places else {}


@contextmanager
def _signals_put_off() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block ends: a child that was not noted would be left behind."""
    came: list[int] = []
    held = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handled = {number: handler for number, handler in held.items() if callable(handler)}
    for number in handled:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


def _start(job: Job) -> _Running:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        log_start = log.tell()  # before the child writes: it shares this file's position
        try:
            process = subprocess.Popen(
                job.command,
                stdout=log,
                stderr=log,
                # Ctrl-C reaches this process alone, which then stops its children in order
                start_new_session=True,
                preexec_fn=_end_with(os.getpid()),
                # one thread each unless the user says otherwise: more threads than cores stall for seconds
                env={"OMP_NUM_THREADS": "1", **os.environ, **job.environment},
            )
        except OSError as error:
            raise UserError(
                f"{job.name}: command {job.command[0]!r} is not there or cannot be run ({error.strerror}); "
                "install it, or mend its entry in arms.toml"
            ) from None
        return _Running(job, process, log_start)


def _end_with(parent: int) -> Callable[[], None] | None:
    """Return what makes a child end when this process is killed: nobody would stop or count it any more.

    What a child has finished is on disk, and what it had begun is begun again, whoever kills it.
    """
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return ask


def _lines(one: _Running) -> list[str]:
    with one.job.log.open("rb") as log:
        log.seek(one.log_start)
        return log.read().decode(errors="replace").strip().splitlines()


def check(one: Ended) -> None:
    """Raise what a child's end means.

    Raises:
        UserError: it ended with exit code 2; its own message is passed on.
        InfrastructureError: it failed otherwise; the message names its log.
    """
    if one.code == 0:
        return
    if one.code == USAGE:  # its own line, wherever the buffers of its two streams have put it
        told = [line for line in one.lines if line.startswith("error: ")]
        raise UserError(told[-1].removeprefix("error: ") if told else one.last)
    raise InfrastructureError(
        f"{one.job.name} ended with exit code {one.code} ({one.last}); see {one.job.log}"
    )


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + GRACE_S
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
