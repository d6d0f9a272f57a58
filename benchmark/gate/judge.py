"""Candidate against baseline: integrity, health, then learning. Data in, judgement out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from benchmark.gate.baseline import Baseline, drift_from_original
from benchmark.gate.decide import EQUAL, Decision, Verdict, decide
from benchmark.gate.evidence import (
    Divergence,
    Flip,
    commits,
    first_divergence,
    flips,
    settings_that_differ,
    token_share,
)
from benchmark.gate.health import Break
from benchmark.gate.integrity import check_integrity, paired_seeds
from benchmark.gate.results import Results, Run, auc, final
from benchmark.stats import Interval, minimum_detectable_effect, t_interval


@dataclass(frozen=True, kw_only=True)
class Case:
    """One endpoint on one task, or on their mean."""

    endpoint: str
    task: str
    difference: Interval
    """Plain 95 % interval; the decision's own stands in `Judgement.decision`."""
    mde: float | None
    """Loss that the tests of this look find with probability 0.8."""
    judged: bool
    """Whether the verdict rests on it: one endpoint does, the others are shown."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the gate found, whatever it is."""

    outcome: str
    """A key of `stops.CODES`, or "more": undecided, train more seeds."""
    headline: str
    caught_by: str = ""
    """Of a failure: "learning", "health" or "trainer"."""
    pairs: int = 0
    seeds: list[int] = field(default_factory=list)
    decision: Decision | None = None
    broken: Break | None = None
    cases: list[Case] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    curves: dict[str, list[float]] = field(default_factory=dict)
    """"candidate" and "baseline": mean over seeds and tasks at each step."""
    divergence: Divergence | None = None
    flips: list[Flip] | None = None
    """None: one of the two has no texts."""
    settings: dict[str, tuple[object, object]] = field(default_factory=dict)
    """Configuration keys that differ: (candidate's, baseline's)."""
    code: dict[str, str] = field(default_factory=dict)
    """"candidate" and "baseline": the commits that their runs were trained with."""
    tokens: float | None = None
    """Completion tokens that the candidate trained on, as a share of the baseline's."""
    drift: float | None = None
    """Mean difference to the original baseline, where this is not it."""


def judge(
    candidate: Results,
    baseline: Baseline,
    broken: Break | None,
    *,
    can_add: bool,
    allowed: Collection[str] = (),
) -> Judgement:
    """Judge the pairs there are.

    Args:
        candidate: its results.
        baseline: the file.
        broken: the first invariant that its runs break.
        can_add: whether more seeds can be trained: then "more" is an answer.
        allowed: settings of the trainer that may differ from the baseline's.

    Raises:
        IntegrityError, TooLittleError: they do not compare, or there are too few pairs.
    """
    check_integrity(candidate, baseline.results, allowed)
    if broken is not None:
        common = [run.seed for run in candidate.runs]
        return Judgement(
            outcome="fail",
            caught_by="health",
            headline=f"an invariant of training breaks: {broken}",
            broken=broken,
            **_shown(candidate, baseline, common),  # type: ignore[arg-type]
        )
    seeds = paired_seeds(candidate, baseline.results)
    pairs = _pairs(candidate, baseline.results, seeds)
    if all(ours.weights == theirs.weights for ours, theirs in pairs):
        return Judgement(
            outcome="pass",
            headline=f"identical to the baseline: equal weights at every checkpoint of {len(seeds)} seeds",
            **_shown(candidate, baseline, seeds),  # type: ignore[arg-type]
        )
    if indistinguishable(pairs):
        return Judgement(
            outcome="pass",
            headline=f"the answers are the baseline's: equal accuracy at every checkpoint of {len(seeds)} "
            "seeds, whose curves all differ from each other; the weights differ by what no answer shows",
            **_shown(candidate, baseline, seeds),  # type: ignore[arg-type]
        )
    decision = decide(_differences(candidate, baseline.results, seeds))
    seeds = seeds[: decision.n]
    outcome = str(decision.verdict)
    if decision.verdict is Verdict.MORE and not can_add:
        outcome = "inconclusive"
    return Judgement(
        outcome=outcome,
        caught_by="learning" if decision.verdict is Verdict.FAIL else "",
        headline=decision.reason,
        decision=decision,
        **_shown(candidate, baseline, seeds, decision),  # type: ignore[arg-type]
    )


def _shown(
    candidate: Results, baseline: Baseline, seeds: list[int], decision: Decision | None = None
) -> dict[str, object]:
    """Return what is shown beside any verdict."""
    pairs = _pairs(candidate, baseline.results, seeds)
    if not pairs:
        return {"pairs": 0, "seeds": [], "code": {"candidate": commits(candidate.runs)}}
    return {
        "pairs": len(pairs),
        "seeds": [ours.seed for ours, _ in pairs],
        "cases": _cases(candidate, baseline.results, seeds, decision),
        "steps": candidate.steps,
        "curves": {
            "candidate": _mean_curve([ours for ours, _ in pairs]),
            "baseline": _mean_curve([theirs for _, theirs in pairs]),
        },
        "divergence": first_divergence(pairs),
        "flips": flips(candidate, baseline.results, pairs),
        "settings": settings_that_differ(*pairs[0]),
        "code": {
            "candidate": commits([ours for ours, _ in pairs]),
            "baseline": commits([theirs for _, theirs in pairs]),
        },
        "tokens": token_share(pairs),
        "drift": drift_from_original(baseline, candidate),
    }


def indistinguishable(pairs: list[tuple[Run, Run]]) -> bool:
    """Return whether the two runs of every seed have the same curve, and no two seeds do.

    That happens where only rounding was changed. Equal curves alone show nothing: runs that never learn, or a
    task that is used up, have them too.
    """
    curves = {str(sorted(theirs.curve.items())) for _, theirs in pairs}
    return len(curves) == len(pairs) and all(
        ours.curve == theirs.curve and (not ours.items or not theirs.items or ours.items == theirs.items)
        for ours, theirs in pairs
    )


def _pairs(candidate: Results, baseline: Results, seeds: list[int]) -> list[tuple[Run, Run]]:
    ours = {run.seed: run for run in candidate.runs}
    theirs = {run.seed: run for run in baseline.runs}
    return [(ours[seed], theirs[seed]) for seed in seeds if seed in theirs]


def _differences(
    candidate: Results, baseline: Results, seeds: list[int], endpoint: str = "auc", task: str | None = None
) -> np.ndarray:
    measure = auc if endpoint == "auc" else final
    return np.array(
        [
            measure(candidate, ours, task) - measure(baseline, theirs, task)
            for ours, theirs in _pairs(candidate, baseline, seeds)
        ]
    )


def _cases(candidate: Results, baseline: Results, seeds: list[int], decision: Decision | None) -> list[Case]:
    tasks = sorted(baseline.counts)
    places: list[tuple[str, str | None]] = [("auc", None), ("final", None)]
    if len(tasks) > 1:
        places += [(endpoint, task) for task in tasks for endpoint in ("auc", "final")]
    cases = []
    for endpoint, task in places:
        difference = _differences(candidate, baseline, seeds, endpoint, task)
        spread = float(difference.std(ddof=1)) if len(difference) > 1 else 0.0
        alpha = 2 * decision.threshold if decision and spread > EQUAL else None
        cases.append(
            Case(
                endpoint=endpoint,
                task=task or (tasks[0] if len(tasks) == 1 else "mean of all tasks"),
                difference=t_interval(difference),
                mde=minimum_detectable_effect(spread, len(difference), alpha) if alpha else None,
                judged=(endpoint, task) == ("auc", None),
            )
        )
    return cases


def _mean_curve(runs: list[Run]) -> list[float]:
    curves = [np.mean([run.curve[task] for task in sorted(run.curve)], axis=0) for run in runs]
    return [float(value) for value in np.mean(curves, axis=0)]
