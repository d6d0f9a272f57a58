"""The main job: train every arm and seed, answer every task with every checkpoint, grade, reduce."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.executor import Executor, Failure
from benchmark.executor.answer import work_items
from benchmark.executor.devices import devices, engines
from benchmark.executor.local import LocalExecutor
from benchmark.jobs.claim import claim, drop_claim, record_engine
from benchmark.jobs.follow import Follower, not_done, retain
from benchmark.jobs.launch import Job, Queue, drive
from benchmark.jobs.progress import Stage, progress, say, tell
from benchmark.jobs.runs import TrainedRun, distinct_checkpoints, is_done, looks_done, read_runs
from benchmark.scoring.aggregate import aggregate
from benchmark.scoring.changes import grader_changes
from benchmark.scoring.grades import graders
from benchmark.scoring.score import grade_units, score
from benchmark.store import open_store
from benchmark.suite import Suite, run_folder, train_command
from benchmark.texts.units import wanted_units
from tasks.checkpoints import Checkpoint
from tasks.engines.select import INSTALL
from tasks.errors import InfrastructureError, UserError
from tasks.files import only_one
from tasks.settings import make_folder

WORKER = ("-m", "benchmark.executor")
"""What Python runs as a worker."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the stages have to know."""

    suite: Suite
    words: Sequence[str]
    """The words that name the suite on a command line, for the workers."""
    out: Path
    engine: str
    """"transformers" or "vllm", as `usable_engine` found it."""
    jobs: int
    """Processes at a time."""
    retry: bool = False
    """Whether quarantined checkpoints are tried again."""


def run_suite(
    suite: Suite,
    suite_arguments: list[str],
    out: Path,
    engine: str,
    jobs: int,
    *,
    follow: bool = False,
    retry: bool = False,
) -> dict[str, str]:
    """Do what is not done yet; returns how long each stage took, as text.

    Args:
        suite: the resolved suite.
        suite_arguments: the words that name it on a command line, for the workers.
        out: where everything goes; the same command finishes a run that was stopped.
        engine: "transformers" or "vllm", as `usable_engine` found it.
        jobs: processes at a time.
        follow: score checkpoints while training goes on.
        retry: try quarantined checkpoints again.

    Raises:
        UserError: OUT belongs to another suite, or something in it is damaged.
        InfrastructureError: a worker failed, or checkpoints are quarantined: all else is done then.
    """
    work = Work(suite=suite, words=suite_arguments, out=out, engine=engine, jobs=jobs, retry=retry)
    make_folder(out)
    with only_one(out):
        new = claim(out, suite)
        record_engine(out, engine)
        try:
            clock = _Clock()
            if follow:
                _train_and_follow(work)
            else:
                train(suite, out, jobs)
            clock.end("train")
            runs = read_runs(suite, out)  # hashes every checkpoint: once for all stages
            failures = generate(work, distinct_checkpoints(runs))
            clock.end("generate")
            _score(work, runs, failures)
            clock.end("score")
        except UserError:
            if new:
                drop_claim(out)
            raise
    return clock.spent


class _Clock:
    """How long each stage took."""

    def __init__(self) -> None:
        self.spent: dict[str, str] = {}
        self._since = time.perf_counter()

    def end(self, stage: str) -> None:
        """Note the end of a stage."""
        now = time.perf_counter()
        self.spent[stage] = f"{now - self._since:.0f} s"
        self._since = now


def usable_engine(name: str) -> tuple[str, str]:
    """Return (engine, why) for "auto" or a name, asked in a process of its own: importing vLLM takes seconds.

    Raises:
        UserError: the engine was named and cannot be used.
    """
    if name == "transformers":
        return name, "as asked"
    code = "from tasks.engines.select import vllm_problem; print('\\n' + (vllm_problem() or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InfrastructureError(
            f"looking for vLLM ended with exit code {done.returncode}: {done.stderr[-300:]}"
        )
    problem = done.stdout.splitlines()[-1].strip()
    if not problem:
        return "vllm", "it is installed and imports"
    if name == "vllm":
        raise UserError(f"engine 'vllm': {problem}; use --engine transformers, or install it: {INSTALL}")
    return "transformers", f"vLLM cannot be used: {problem}"


def train(suite: Suite, out: Path, jobs: int) -> None:
    """Start the trainer for every arm and seed whose run is not done, the arms of a seed together."""
    with progress() as show:
        drive([_trainers(suite, out, jobs, devices(), show.stage("train", _runs(suite), "runs"))])


def _runs(suite: Suite) -> int:
    return len(suite.arms) * len(suite.seeds)


def _trainers(suite: Suite, out: Path, jobs: int, places: Sequence[str], stage: Stage) -> Queue:
    pairs = [(arm, seed) for seed in suite.seeds for arm in suite.arms]
    todo = [
        Job(
            name=f"{arm} seed {seed}",
            command=train_command(suite, out, arm, seed),
            log=out / "logs" / f"train_{arm}_seed_{seed}.log",
        )
        for arm, seed in pairs
        if not is_done(run_folder(out, arm, seed))
    ]
    folders = [run_folder(out, arm, seed) for arm, seed in pairs]
    return Queue(todo, jobs, stage, lambda: sum(map(looks_done, folders)), places)


def generate(work: Work, checkpoints: Sequence[Checkpoint]) -> list[Failure]:
    """Generate what these checkpoints lack; returns the ones that are quarantined."""
    store = open_store(work.out)
    for line in store.adopt():
        say(f"  generate: {line}")
    items = work_items(work.suite, checkpoints, store, work.engine)
    if not items:
        return []
    places = devices()
    executor = _executor(work, engines(work.jobs, places), places)
    if work.retry:
        executor.retry([item.id for item in items])
    executor.add(items)
    executor.close()
    with progress() as show:
        stage = show.stage("generate", sum(item.completions for item in items), "completions")
        drive([executor, _Counted(executor, stage)])
    return executor.failures()


def _executor(work: Work, workers: int, places: Sequence[str]) -> LocalExecutor:
    command = [sys.executable, *WORKER, *work.words, "--out", str(work.out), "--engine", work.engine]
    return LocalExecutor(work.out, command, workers, places)


class _Counted:
    """Shows what an executor's workers have put on disk."""

    def __init__(self, executor: Executor, stage: Stage) -> None:
        self._executor, self._stage = executor, stage

    def step(self) -> bool:
        """Look once; it never has anything to wait for."""
        self._stage.update(self._executor.completions())
        return True

    def stop(self) -> None:
        """Nothing of it goes on."""


def _train_and_follow(work: Work) -> None:
    """Train, and answer, grade and let go checkpoints meanwhile: half of the places for each."""
    places = devices()
    if len(places) == 1:
        raise UserError(
            f"--follow with one device ({places[0]}): a trainer and an engine do not fit on it together; "
            "give two, or run without --follow"
        )
    half = max(1, (len(places) or work.jobs) // 2)
    trainers = max(1, work.jobs - half) if not places else min(work.jobs, len(places) - half)
    open_store(work.out).adopt()
    executor = _executor(work, half, places[-half:] if places else ())
    with progress() as show:
        training = show.stage("train", _runs(work.suite), "runs")
        queue = _trainers(work.suite, work.out, trainers, places[:-half], training)
        answering = show.stage("generate", 0, "completions")
        drive([queue, executor, _follower(work, executor, lambda: queue.over, answering, grade=True)])


def follow_trainers(work: Work) -> list[Failure]:
    """Generate the texts of checkpoints as they appear, until every run of the suite is done.

    Whoever trains does that elsewhere. Nothing is graded and nothing is deleted.
    """
    places = devices()
    executor = _executor(work, engines(work.jobs, places), places)
    with progress() as show:
        stage = show.stage("generate", 0, "completions")
        watched = _follower(work, executor, lambda: not not_done(work.suite, work.out), stage, grade=False)
        drive([executor, watched])
    return executor.failures()


def _follower(
    work: Work, executor: Executor, trained: Callable[[], bool], stage: Stage, *, grade: bool
) -> Follower:
    return Follower(work.suite, work.out, work.engine, executor, trained, stage, grade=grade)


def _score(work: Work, runs: Sequence[TrainedRun], failures: Sequence[Failure]) -> None:
    """Grade everything that has its texts, then reduce it to rows; checkpoints that failed stop that."""
    if failures:
        failed = {failure.item for failure in failures}
        units = wanted_units(work.suite, runs, work.engine)
        there = [unit for unit in units if unit.checkpoint.id not in failed]
        grade_units(work.out, open_store(work.out), there)
        raise quarantined(failures)
    with progress() as show:
        stage = show.stage("score", 0, "units")
        score(work.suite, runs, work.out, work.engine, lambda done, units, graded: stage.update(done, units))
    aggregate(work.suite, runs, work.out, work.engine)
    if len(graders(work.out)) > 1:
        tell(grader_changes(work.suite, runs, work.out, work.engine))
    retain(work.suite, runs, work.out, work.engine)


def quarantined(failures: Sequence[Failure]) -> InfrastructureError:
    """Return the error that ends a command which did everything else."""
    named = "; ".join(f"{failure.label} ({failure.reason})" for failure in failures)
    return InfrastructureError(
        f"{len(failures)} checkpoint{'s' if len(failures) > 1 else ''} quarantined, workers died there "
        f"twice: {named}. All else is done, and tables wait for these: find the cause in logs/, then give "
        "the same command with --retry-quarantined"
    )


def default_jobs() -> int:
    """Return the number of processes that fit this machine: one per core, since each uses one thread."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
