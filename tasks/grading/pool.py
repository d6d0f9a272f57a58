"""Worker processes for math-verify: a deadline per comparison, a memory limit, new workers for dead ones."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as DeadlineError
from concurrent.futures.process import BrokenProcessPool
from importlib.machinery import ModuleSpec
from multiprocessing import set_forkserver_preload
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from tasks.errors import InfrastructureError
from tasks.grading import worker
from tasks.grading.kinds import Verdict
from tasks.schema import Status

if TYPE_CHECKING:
    from pebble import ProcessPool

DEADLINE_S = 5.0
"""What one comparison may take, counted from when a worker begins with it."""
MEMORY_MB = 1024
"""What one worker may take beyond what it starts with."""
MOST_WORKERS = 8
TRIES = 3
"""Pools that may break before there is something wrong with the machine."""

_pools: dict[int, ProcessPool] = {}
"""The pool by process id: a forked child has none of its parent's threads, and starts its own."""
_IMPORTED_BY = os.getpid()


class _Bare(BaseProcess):
    """A process that does not run the program's main module again: it may load torch and is not needed."""

    def start(self) -> None:
        main = sys.modules["__main__"]
        spec, seed = main.__spec__, os.environ.get("PYTHONHASHSEED")
        main.__spec__ = ModuleSpec("__main__", None)
        os.environ["PYTHONHASHSEED"] = "0"  # sympy walks through sets of names, and verdicts must repeat
        # Ctrl-C reaches them too, and they would print where they were; whoever started them ends them
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            main.__spec__ = spec
            if seed is None:
                del os.environ["PYTHONHASHSEED"]
            else:
                os.environ["PYTHONHASHSEED"] = seed


class _Forked(_Bare, ForkServerProcess):
    """From a server without threads and CUDA, which has math-verify loaded: ready at once."""


class _Spawned(_Bare, SpawnProcess):
    """From nothing: the server belongs to the process that started it, and not to its forked children."""


class _ForkServerContext(ForkServerContext):
    Process = _Forked


class _SpawnContext(SpawnContext):
    Process = _Spawned


def judge_all(pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
    """Compare (answer, reference) pairs with math-verify, in the workers.

    Returns:
        A verdict per pair, in order. One that met its deadline or took its worker with it is an error.

    Raises:
        InfrastructureError: workers cannot be started.
    """
    verdicts: dict[int, Verdict] = {}
    for _ in range(TRIES):
        pool = running()
        left = [at for at in range(len(pairs)) if at not in verdicts]
        try:
            futures = [
                pool.schedule(worker.judge, (*pairs[at], DEADLINE_S), timeout=DEADLINE_S) for at in left
            ]
            for at, future in zip(left, futures, strict=True):
                verdicts[at] = _verdict(future, pool)
        except RuntimeError:  # the pool broke, which is what it does when an idle worker is killed
            close()
        else:
            return [verdicts[at] for at in range(len(pairs))]
    raise InfrastructureError(
        "the grader's worker processes die as soon as they start: is there memory for them?"
    )


def close() -> None:
    """End the workers; the next comparison starts new ones."""
    pool = _pools.pop(os.getpid(), None)
    if pool is not None:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()


def running() -> ProcessPool:
    """Return this process's pool; the first call makes it."""
    if os.getpid() not in _pools:
        from pebble import ProcessPool

        set_forkserver_preload(["tasks.grading.preload"])
        _pools[os.getpid()] = ProcessPool(
            max_workers=min(os.cpu_count() or 1, MOST_WORKERS),
            initializer=worker.start,
            initargs=(MEMORY_MB,),
            context=_ForkServerContext() if os.getpid() == _IMPORTED_BY else _SpawnContext(),
        )
        atexit.register(close)
    return _pools[os.getpid()]


def _verdict(future: Future[Verdict], pool: ProcessPool) -> Verdict:
    from pebble import ProcessExpired

    while not wait([future], timeout=1).done:
        if not pool.active:
            raise BrokenProcessPool  # what it had not taken up will never end
    try:
        return future.result()
    except DeadlineError:
        return Status.ERROR, f"no verdict within {DEADLINE_S:g} s"
    except ProcessExpired as death:
        return Status.ERROR, f"the worker died with exit code {death.exitcode}"
