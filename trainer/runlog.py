"""The run folder: config, manifest, metrics. Files are the contract with the benchmark.

RUN/config.json                     resolved configuration with its hash
RUN/manifest.json                   code, versions, device; state: running, done, stopped, failed
RUN/metrics.jsonl                   one line per optimizer step
RUN/checkpoints/step_000010/        HF folder
RUN/state/                          optimizer of the last checkpoint, for an exact resume
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tasks.errors import Interrupted
from tasks.files import write_json, write_text
from tasks.provenance import git_state, package_versions, utc_now
from trainer.config import TrainConfig

State = Literal["running", "done", "stopped", "failed"]


@contextmanager
def recorded(out: Path, config: TrainConfig, *, device: str, engine: str) -> Iterator[None]:
    """Keep the manifest's state true: running inside the block, then done, stopped or failed."""
    sha, dirty = git_state()  # of the code that is loaded now, not of the checkout when the run ends
    made_with = {
        "config_hash": config.digest(),
        "seed": config.seed,
        "git_sha": sha,
        "git_dirty": dirty,
        "versions": package_versions(),
        "device": device,
        "engine": engine,
    }
    write_manifest(out, "running", made_with)
    try:
        yield
    except (Interrupted, KeyboardInterrupt):
        write_manifest(out, "stopped", made_with, reason="interrupted")
        raise
    except Exception as error:
        write_manifest(out, "failed", made_with, reason=f"{type(error).__name__}: {error}")
        raise
    write_manifest(out, "done", made_with)


def write_manifest(out: Path, state: State, made_with: dict[str, Any], reason: str = "") -> None:
    """Write the manifest; the state says whether the run can be used."""
    manifest = {"state": state, "reason": reason, "written_at": utc_now(), **made_with}
    write_json(out / "manifest.json", manifest)


def read_metrics(out: Path) -> list[dict[str, Any]]:
    """Return the metrics of every whole line, oldest first; a torn last line is left out."""
    path = out / "metrics.jsonl"
    if not path.exists():
        return []
    *lines, _ = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines]


def cut_metrics(out: Path, step: int) -> None:
    """Drop what was logged after `step`, so that a resumed run logs every step once."""
    kept = [line for line in read_metrics(out) if line["step"] <= step]
    write_text(out / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))


def append_metrics(out: Path, metrics: Mapping[str, float]) -> None:
    """Add one line."""
    with (out / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(dict(metrics)) + "\n")


def console_line(step: int, steps: int, metrics: dict[str, float]) -> str:
    """Return the one line that a person reads per step.

    `tree` is the mean |λ| per token: 1.00 means that nothing is shared and λ-GRPO equals GRPO.
    """
    return (
        f"step {step:04d}/{steps:04d}  reward {metrics['reward/mean']:.3f}"
        f"  mixed {metrics['reward/mixed_groups']:4.0%}  tree {metrics['tree/set_size']:5.2f}"
        f"  len {metrics['completion/mean_length']:5.1f}  trunc {metrics['completion/truncated']:3.0%}"
        f"  grad {metrics['gradient_norm']:7.3f}  {metrics['time/step_s']:5.2f} s"
    )
