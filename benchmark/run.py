"""The main job: train every arm and seed, answer every task with every checkpoint, score, report."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from benchmark.aggregate import aggregate
from benchmark.generate import measurable, missing_work, sample_request, wanted_samples
from benchmark.launch import Job, run_jobs
from benchmark.runs import TrainedRun, distinct_checkpoints, read_record, read_runs
from benchmark.score import score
from benchmark.store import open_store, sample_key
from benchmark.suite import Suite, run_folder, train_command
from tasks.catalog import missing_sets
from tasks.engines.select import INSTALL
from tasks.errors import InfrastructureError, UserError
from tasks.files import only_one


def plan(suite: Suite, out: Path, jobs: int) -> str:
    """Say in a few lines what a run will do."""
    scored = [f"{task}: {suite.decoding(task)}" for task in suite.tasks]
    return (
        f"suite {suite.name} ({suite.kind}): {suite.summary}\n"
        f"  train  {' and '.join(suite.arms)} x {len(suite.seeds)} seeds, {jobs} at a time\n"
        f"  score  every checkpoint on {'; '.join(scored)}\n"
        + "".join(f"  without {reason}\n" for reason in missing_sets(suite.tasks).values())
        + f"  into   {out}"
    )


def run_suite(suite: Suite, suite_arguments: list[str], out: Path, engine: str, jobs: int) -> dict[str, str]:
    """Do what is not done yet; returns how long each stage took, as text.

    Args:
        suite: the resolved suite.
        suite_arguments: the words that name it on a command line, for the workers.
        out: where everything goes, claimed for this suite (`tasks.settings.claim_folder`); the same command
            finishes a run that was stopped.
        engine: "transformers" or "vllm", as `usable_engine` found it.
        jobs: processes at a time.
    """
    with only_one(out):
        started = time.perf_counter()
        train(suite, out, jobs)
        trained = time.perf_counter()
        runs = read_runs(suite, out)  # hashes every checkpoint: once for both stages
        generate(suite, runs, suite_arguments, out, engine, jobs)
        generated = time.perf_counter()
        score(suite, runs, out, engine)
        aggregate(suite, runs, out, engine)
    ended = time.perf_counter()
    stages = {"train": trained - started, "generate": generated - trained, "score": ended - generated}
    return {stage: f"{seconds:.0f} s" for stage, seconds in stages.items()}


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
    pairs = [(arm, seed) for seed in suite.seeds for arm in suite.arms]
    todo = [
        Job(
            name=f"{arm} seed {seed}",
            command=train_command(suite, out, arm, seed),
            log=out / "logs" / f"train_{arm}_seed_{seed}.log",
        )
        for arm, seed in pairs
        if not _is_done(run_folder(out, arm, seed))
    ]
    folders = [run_folder(out, arm, seed) for arm, seed in pairs]
    run_jobs(todo, jobs, "train", lambda: sum(map(_looks_done, folders)), len(folders))


def _is_done(folder: Path) -> bool:
    """Say whether a run ended well and its checkpoints are still there.

    Raises:
        UserError: its manifest is damaged.
    """
    try:
        manifest = read_record(folder / "manifest.json", ("state",))
    except FileNotFoundError:
        return False
    return manifest["state"] == "done" and any((folder / "checkpoints").glob("step_*"))


def _looks_done(folder: Path) -> bool:
    """Say the same while trainers are at work, when a manifest may be half written."""
    with suppress(UserError):
        return _is_done(folder)
    return False


def generate(
    suite: Suite, runs: list[TrainedRun], suite_arguments: list[str], out: Path, engine: str, jobs: int
) -> None:
    """Share the missing texts out over worker processes, each with an engine of its own."""
    checkpoints = distinct_checkpoints(runs)
    store = open_store(out)
    for line in store.adopt():
        sys.stdout.write(line + "\n")
    if not missing_work(suite, checkpoints, store, engine):
        return
    wanted = {
        sample_key(sample_request(suite, checkpoint, task, split, engine)): len(
            wanted_samples(suite, task, split)
        )
        for checkpoint in checkpoints
        for task, split in measurable(suite)
    }

    def finished() -> int:
        held = store.counts()
        return sum(held.get(key, 0) >= count for key, count in wanted.items())

    command = [
        sys.executable,
        "-m",
        "benchmark",
        "generate",
        *suite_arguments,
        "--out",
        str(out),
        "--engine",
        engine,
        "--allow-missing",  # whoever starts a run has been asked
    ]
    workers = [
        Job(
            name=f"engine {index + 1} of {jobs}",
            command=[*command, "--worker", f"{index}/{jobs}"],
            log=out / "logs" / f"generate_{index}.log",
        )
        for index in range(jobs)
    ]
    run_jobs(workers, jobs, "generate", finished, len(wanted))


def default_jobs() -> int:
    """Return the number of processes that fit this machine: one per core, since each uses one thread."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
