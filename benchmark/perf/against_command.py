"""Our path against one run of the `lm_eval` command for each checkpoint, whole processes, in turns."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.perf.cases import RACES, ROOT, Case, perturbed, policy_of
from benchmark.perf.ratios import speedup
from tasks.engines.vllm_engine import CPU_CACHE_BYTES
from tasks.errors import InfrastructureError, UserError
from tasks.harness import HARNESS
from tasks.harness.configs import lm_eval_name


def race(name: str, checkpoints: int, repeats: int, smollm2: Path | None) -> dict[str, Any]:
    """Time both sides; returns seconds per checkpoint and how much faster ours is.

    The command runs once for each checkpoint; ours goes through all of them, `repeats` times. One run of each
    comes before and is not counted: it brings everything into the file cache.
    """
    if checkpoints < 2 or repeats < 1:
        raise UserError(f"{checkpoints} checkpoints, {repeats} repeats: want 2 or more, 1 or more")
    case = RACES[name]
    command_s: list[float] = []
    ours_s: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        folders = perturbed(policy_of(name, smollm2), out, checkpoints)
        timed(command(case, folders[0], out / "warm.json"))
        for turn in range(-1, max(checkpoints, repeats)):
            if turn < repeats:
                words = ["-m", "benchmark.perf.ours", name, str(out / f"ours{turn}"), *map(str, folders)]
                seconds = timed(words) / checkpoints
                ours_s += [seconds] if turn >= 0 else []
            if 0 <= turn < checkpoints:
                command_s.append(timed(command(case, folders[turn], out / f"{turn}.json")))
    return {
        "case": f"{name}, {checkpoints} checkpoints",
        "summary": f"{case.summary}; seconds per checkpoint of the lm_eval command (first) and of our path",
        "goal": case.goal,
        "unit": "s",
        **speedup(command_s, ours_s, np.random.default_rng(0)),
        "command_s": command_s,
        "ours_s": ours_s,
    }


def command(case: Case, folder: Path, out: Path) -> list[str]:
    """Return the arguments of one run of lm_eval's command."""
    model = f"pretrained={folder},dtype=float32,max_model_len={case.length},enforce_eager=True,seed=0"
    return [
        *("-m", "benchmark.perf.lm_eval_vllm", "run", "--model", "vllm", "--batch_size", "auto"),
        *("--model_args", f"{model},kv_cache_memory_bytes={CPU_CACHE_BYTES}"),
        *("--include_path", str(HARNESS)),
        *("--tasks", ",".join(lm_eval_name(task, "test") for task in case.tasks)),
        *("--gen_kwargs", f"temperature=0,do_sample=False,max_gen_toks={case.new_tokens}"),
        *("--output_path", str(out), "--log_samples"),
    ]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def timed(arguments: Sequence[str]) -> float:
    """Run python with these arguments, on all cores that this process may use, and return how long it took.

    Raises:
        InfrastructureError: it failed.
    """
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    environment = os.environ | offline | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(cores())}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InfrastructureError(f"python {' '.join(arguments[:3])} ended with {done.returncode}: {last}")
    return seconds
