"""Learning curves into one summary per run, one table of arms and paired differences between arms.

The unit of inference is the training seed, paired across arms; items are fixed.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmark.curves import COUNTS, RUN, learning_curves
from benchmark.stats import Interval, minimum_detectable_effect, normalised_auc, sign_flip_p, t_interval
from tasks.errors import UserError, closest

ENDPOINTS = ("final", "peak", "auc")
"""What sums up a run: value at the last step, value at the step validation picks, area under the curve."""


def summarize_runs(frame: pd.DataFrame, *, metric: str = "accuracy", kind: str = "real") -> pd.DataFrame:
    """Sum up every training run by a few numbers, all in metric units.

    Args and errors: those of `learning_curves`.

    Returns:
        One row per (task, arm, seed), sorted:
        base: test value of the untrained policy, the same for all arms and seeds.
        final: test value at `last_step`.
        peak: test value at `peak_step`, where *validation* is best (first on ties, step 0 takes part).
        raw_max: the best test value of all. It was chosen on the data it is read from: never a headline.
        auc: `normalised_auc` of the test values, step 0 included.
        n_items: items in the test split (the fewest of any checkpoint).
        n_completions, n_truncated, n_unparsed, n_ungraded: totals over the run's own test checkpoints,
        the shared step 0 left out.
    """
    curves = learning_curves(frame, metric=metric, kind=kind)
    return pd.DataFrame(
        [dict(zip(RUN, name, strict=True)) | _summary(run) for name, run in curves.groupby(RUN)]
    )


def _summary(run: pd.DataFrame) -> dict[str, float | int]:
    sign = 1 if run["higher_is_better"].iloc[0] else -1
    step, test = run["step"].to_numpy(), run["test"].to_numpy()
    chosen = int(np.argmax(sign * run["validation"].to_numpy()))
    own = run[run["step"] > 0]
    return {
        "base": float(test[0]),
        "final": float(test[-1]),
        "peak": float(test[chosen]),
        "peak_step": int(step[chosen]),
        "raw_max": float(sign * (sign * test).max()),
        "auc": normalised_auc(step, test),
        "last_step": int(step[-1]),
        "n_items": int(run["n_items"].min()),
    } | {name: int(own[name].sum()) for name in ("n_completions", *COUNTS)}


def arm_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Average `summarize_runs` over seeds.

    Returns:
        One row per (task, arm): base, final, peak, auc as `Interval`, n_seeds, n_items. `base` is one
        policy scored once, not n_seeds independent values: its n is 1 and it has no bounds.
    """
    return pd.DataFrame(
        [
            {"task": task, "arm": arm, "base": Interval(float(group["base"].iloc[0]), None, None, 1)}
            | {endpoint: t_interval(group[endpoint]) for endpoint in ENDPOINTS}
            | {"n_seeds": len(group), "n_items": int(group["n_items"].min())}
            for (task, arm), group in runs.groupby(["task", "arm"])
        ]
    )


def paired_differences(runs: pd.DataFrame, baseline: str = "grpo") -> pd.DataFrame:
    """Compare every other arm with the baseline, paired by training seed: arm minus baseline.

    Returns:
        One row per (task, arm, endpoint): `difference` (`Interval`, 95 % t), `p` (`sign_flip_p`), `mde`
        (`minimum_detectable_effect` for the SD of these pairs), `n` pairs, and `reason`: why something
        is None, or "". Not corrected for the number of comparisons. Empty when there is no other arm.

    Raises:
        UserError: the baseline has no runs, or a seed that only one of the two arms has.
    """
    arms = sorted(set(runs["arm"]))
    if baseline not in arms:
        raise UserError(f"baseline {baseline!r}: no runs of that arm; {closest(baseline, arms)}")
    columns = ["task", "arm", "baseline", "endpoint", "difference", "p", "mde", "n", "reason"]
    records = []
    for task, group in runs.groupby("task"):
        endpoint_by_arm = {arm: rows.set_index("seed") for arm, rows in group.groupby("arm")}
        for arm in (name for name in endpoint_by_arm if name != baseline):
            ours, theirs = endpoint_by_arm[arm], endpoint_by_arm[baseline]
            _refuse_unpaired(task, {arm: set(ours.index), baseline: set(theirs.index)})
            records += [
                {"task": task, "arm": arm, "baseline": baseline, "endpoint": endpoint}
                | _compare((ours[endpoint] - theirs[endpoint]).to_numpy())
                for endpoint in ENDPOINTS
            ]
    return pd.DataFrame(records, columns=columns, dtype=object)


def _compare(difference_s: np.ndarray) -> dict[str, object]:
    interval = t_interval(difference_s)
    record: dict[str, object] = {"difference": interval, "p": None, "mde": None, "n": interval.n}
    if interval.n < 2:
        return record | {
            "reason": "1 pair of seeds: no interval and no test, train at least 2 (5 to be useful)"
        }
    record["p"] = sign_flip_p(difference_s)
    if interval.low is None:
        return record | {
            "reason": f"all {interval.n} differences are equal: no spread to build an interval from"
        }
    return record | {
        "mde": minimum_detectable_effect(float(difference_s.std(ddof=1)), interval.n),
        "reason": "",
    }


def _refuse_unpaired(task: str, seeds: dict[str, set[int]]) -> None:
    (arm, ours), (baseline, theirs) = seeds.items()
    for name, only in ((arm, ours - theirs), (baseline, theirs - ours)):
        if only:
            raise UserError(
                f"task {task!r}: seeds {', '.join(map(str, sorted(only)))} exist only for arm {name!r}; "
                f"pairs need both {arm!r} and {baseline!r}, so train the other arm with them"
            )
