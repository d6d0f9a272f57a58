"""What stands beside a verdict: where the logs part, which items flipped, whose code and settings it was."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmark.gate.results import STREAMS, Results, Run

SHOWN_FLIPS = 10


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """Where the logs of a seed's two runs first differ."""

    step: int
    seed: int
    name: str
    candidate: float | None
    baseline: float | None
    identical: int
    """Seeds whose logs never differ."""


@dataclass(frozen=True, kw_only=True)
class Flip:
    """An item that the two score differently at the last checkpoint, as means over the seeds."""

    item: str
    candidate: float
    baseline: float


def first_divergence(pairs: list[tuple[Run, Run]]) -> Divergence | None:
    """Return the earliest step at which the logs of a pair differ, None where none ever does."""
    found: list[tuple[int, int, str, float | None, float | None]] = []
    identical = 0
    for ours, theirs in pairs:
        steps = max((len(ours.streams[name]) for name in STREAMS), default=0)
        first = next(
            (
                (step + 1, ours.seed, name, left, right)
                for step in range(steps)
                for name in STREAMS
                for left, right in [(_at(ours, name, step), _at(theirs, name, step))]
                if not _equal(left, right)
            ),
            None,
        )
        if first is None:
            identical += 1
        else:
            found.append(first)
    if not found:
        return None
    step, seed, name, left, right = min(found, key=lambda one: one[:2])
    return Divergence(step=step, seed=seed, name=name, candidate=left, baseline=right, identical=identical)


def _at(run: Run, name: str, step: int) -> float | None:
    stream = run.streams[name]
    return stream[step] if step < len(stream) else None


def _equal(left: float | None, right: float | None) -> bool:
    """Another machine of the class may round the last bits otherwise."""
    if left is None or right is None:
        return left is right
    return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-12)


def flips(candidate: Results, baseline: Results, pairs: list[tuple[Run, Run]]) -> list[Flip] | None:
    """Return the items whose mean score over the seeds changed most; None where one side has no texts."""
    if not candidate.items or not baseline.items or not pairs:
        return None
    found = []
    for task, names in candidate.items.items():
        scores = [_means([run.items[task] for run in side]) for side in zip(*pairs, strict=True)]
        found += [
            Flip(item=name, candidate=ours, baseline=theirs)
            for name, ours, theirs in zip(names, *scores, strict=True)
            if ours is not None and theirs is not None and ours != theirs
        ]
    found.sort(key=lambda one: (-abs(one.candidate - one.baseline), one.item))
    return found[:SHOWN_FLIPS]


def _means(scores: list[list[float | None]]) -> list[float | None]:
    """Average each item over the runs that have a score of it."""
    known = [[value for value in column if value is not None] for column in zip(*scores, strict=True)]
    return [sum(one) / len(one) if one else None for one in known]


def commits(runs: list[Run]) -> str:
    """Name the commits that runs were trained with; "changed" where the checkout had other files too."""
    return ", ".join(sorted({run.git_sha[:12] + " changed" * run.git_dirty for run in runs}))


def token_share(pairs: list[tuple[Run, Run]]) -> float | None:
    """Return the completion tokens of training, candidate over baseline; None where none are logged."""
    ours, theirs = (
        sum(tokens or 0.0 for run in side for tokens in run.streams["step_tokens"])
        for side in zip(*pairs, strict=True)
    )
    return ours / theirs if theirs else None


def settings_that_differ(ours: Run, theirs: Run) -> dict[str, tuple[object, object]]:
    """Return (candidate's, baseline's) of every key of the configuration that is not the same."""
    keys = sorted(ours.config.keys() | theirs.config.keys())
    return {
        key: (ours.config.get(key), theirs.config.get(key))
        for key in keys
        if ours.config.get(key) != theirs.config.get(key)
    }
