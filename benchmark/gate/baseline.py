"""Baseline files: what the candidate is held against, with a digest, a reason and the ones before it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from benchmark.gate.decide import LOOKS, MARGIN, THRESHOLDS
from benchmark.gate.results import METRIC, SPLIT, Results, auc
from benchmark.gate.stops import IntegrityError, TooLittleError
from tasks.errors import UserError
from tasks.files import write_text
from tasks.provenance import utc_now
from tasks.settings import Settings

PLAN: dict[str, Any] = {
    "endpoint": "auc over steps, mean over tasks",
    "metric": METRIC,
    "split": SPLIT,
    "looks": list(LOOKS),
    "thresholds": list(THRESHOLDS),
    "margin": MARGIN,
}
"""What was laid down before any candidate was seen; part of the file, so that a change of it shows."""


class Past(Settings):
    """A baseline that another one replaced."""

    sha256: str
    written_at: str
    reason: str
    git_sha: list[str]
    seeds: list[int]
    auc: list[float]
    """Of each seed."""


class Baseline(Settings):
    """A baseline file."""

    schema_version: Literal[1] = 1
    written_at: str
    reason: str
    plan: dict[str, Any]
    results: Results
    original: Results | None = None
    """The first baseline's results, against a slow slide; None in the first file."""
    history: list[Past] = Field(default_factory=list)
    """Every baseline before this one, oldest first."""

    def content(self) -> str:
        """Return the sha256 of everything in the file; it stands beside it as `digest`."""
        return _digest(self.model_dump(mode="json"))


def read_baseline(path: Path) -> Baseline:
    """Read a baseline file.

    Raises:
        UserError: there is no such file.
        IntegrityError: it is damaged, edited by hand, or made by another plan.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        digest = raw.pop("digest")
        baseline = Baseline.model_validate(raw)
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such baseline; write one with `python -m benchmark gate SUITE --write-baseline "
            f'{path} --reason "..."`'
        ) from None
    except (OSError, ValueError, TypeError, AttributeError, KeyError, ValidationError) as error:
        raise IntegrityError(
            f"{path}: not a baseline file ({type(error).__name__}); restore it from version control"
        ) from None
    if _digest(raw) != digest:
        raise IntegrityError(
            f"{path}: its digest is not that of its content; restore it from version control"
        )
    if baseline.plan != PLAN:
        changed = sorted(key for key in PLAN if PLAN[key] != baseline.plan.get(key))
        raise IntegrityError(
            f"{path}: made for another plan ({', '.join(changed)}); write a new baseline, with the reason"
        )
    return baseline


def write_baseline(path: Path, results: Results, reason: str) -> Baseline:
    """Write a baseline, or rotate the one that is there: its record stays in the new file.

    Raises:
        UserError: no reason.
        IntegrityError: the file there is damaged.
        TooLittleError: fewer runs than the last look needs.
    """
    if len(reason.split()) < 2:
        raise UserError(f"--reason {reason!r}: say in a few words why the gate should hold to other numbers")
    if len(results.runs) < LOOKS[-1]:
        raise TooLittleError(
            f"{len(results.runs)} runs: a baseline needs {LOOKS[-1]}, one for each pair of the last look"
        )
    old = _old(path)
    history = [] if old is None else [*old[0].history, _past(*old)]
    original = None if old is None else old[0].original or old[0].results
    baseline = Baseline(
        written_at=utc_now(), reason=reason, plan=PLAN, results=results, original=original, history=history
    )
    record = {"digest": baseline.content(), **baseline.model_dump(mode="json")}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, _readable(record))
    return baseline


def _old(path: Path) -> tuple[Baseline, str] | None:
    """Return the baseline that is replaced, and its digest.

    One of another plan or protocol may be replaced, or one older than a field with a default; a damaged one
    may not.
    """
    if not path.exists():
        return None
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        digest = raw.pop("digest")
        old = Baseline.model_validate(raw)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, ValidationError):
        raise IntegrityError(f"{path}: damaged; its history would be lost, restore it first") from None
    if _digest(raw) != digest:
        raise IntegrityError(f"{path}: its digest is not that of its content; restore it first")
    return old, digest


def _past(old: Baseline, digest: str) -> Past:
    results = old.results
    return Past(
        sha256=digest,
        written_at=old.written_at,
        reason=old.reason,
        git_sha=sorted({run.git_sha for run in results.runs}),
        seeds=[run.seed for run in results.runs],
        auc=[auc(results, run) for run in results.runs],
    )


def drift_from_original(baseline: Baseline, candidate: Results) -> float | None:
    """Return the mean difference of the endpoint to the first baseline, on the seeds that both have.

    None without an original that asks for the same.
    """
    original = baseline.original
    if original is None or (original.protocol, original.steps) != (candidate.protocol, candidate.steps):
        return None
    ours = {run.seed: auc(candidate, run) for run in candidate.runs}
    theirs = {run.seed: auc(original, run) for run in original.runs}
    common = sorted(ours.keys() & theirs.keys())
    return float(np.mean([ours[seed] - theirs[seed] for seed in common])) if common else None


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _readable(record: dict[str, Any]) -> str:
    """Indent, with lists of plain values on one line each."""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    return re.sub(r"\[[^\[\]{}]*\]", lambda found: re.sub(r"\n *", " ", found[0]), text) + "\n"
