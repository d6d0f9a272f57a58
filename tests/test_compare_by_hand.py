"""Arms and their differences by hand: whole frames, and what turns a difference into a verdict."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmark.analysis.compare import arm_table, paired_differences
from benchmark.endpoints import MACRO, Endpoints
from benchmark.stats import Interval, minimum_detectable_effect
from tests.tables import NO_CLOCK, SCALE, runs_by_hand, same


def interval(values, level=0.95):
    """Mean and t interval, from scipy."""
    low, high = stats.t.interval(level, len(values) - 1, np.mean(values), stats.sem(values))
    return Interval(float(np.mean(values)), float(low), float(high), len(values))


def test_arms_by_hand():
    more = {"drop": [-0.1, 0.1], "raw_max": [0.8, 0.9], "collapsed": [True, True], "n_items": [40, 30]}
    one = {name: values[:1] for name, values in more.items()} | {"collapsed": [False]}
    runs = pd.concat(
        [
            runs_by_hand("grpo", [0.5, 0.7], task=MACRO, seeds=[8, 5], **more),
            runs_by_hand("new", [0.5, 0.7], task="words", seeds=[8, 5], **more, higher=False, base=0.9),
            runs_by_hand("grpo", [0.6], task="words", seeds=[3], **one, higher=False, base=0.9),
            runs_by_hand("grpo", [0.6, 0.6], seeds=[7, 2], **more),
        ]
    )

    def means(*final):
        def mean(values):
            return interval(values, 0.8) if np.ptp(values) else Interval(values[0], None, None, len(values))

        of = [[scale * one for one in final] for scale in SCALE.values()]
        drop, raw_max = ([-0.1, 0.1], [0.8, 0.9]) if len(final) == 2 else ([-0.1], [0.8])
        final_of, peak, auc, last3, final_tokens, auc_tokens = map(mean, of)
        return final_of, peak, auc, last3, mean(drop), mean(raw_max), auc_tokens, final_tokens, None, None

    same(
        arm_table(runs, level=0.8),
        "task arm base final peak auc last3 drop raw_max auc_tokens final_tokens auc_seconds final_seconds "
        "worst worst_seed n_collapsed tokens_reason seconds_reason n_seeds n_items",
        [
            ("sums", "grpo", Interval(0.1, None, None, 1), *means(0.6, 0.6), 0.6, 2, 2, "", NO_CLOCK, 2, 30),
            ("words", "grpo", Interval(0.9, None, None, 1), *means(0.6), 0.6, 3, 0, "", NO_CLOCK, 1, 40),
            ("words", "new", Interval(0.9, None, None, 1), *means(0.5, 0.7), 0.7, 5, 2, "", NO_CLOCK, 2, 30),
            (MACRO, "grpo", Interval(0.1, None, None, 1), *means(0.5, 0.7), 0.5, 8, 2, "", NO_CLOCK, 2, 30),
        ],
    )
    assert arm_table(runs)["final"].iloc[-1].high == pytest.approx(0.6 + 12.706205 * 0.1)  # t(.975, 1)


COLUMNS = (
    "task arm baseline endpoint axis role level unit difference p p_t p_holm p_equivalent mde n n_censored "
    "bound verdict reason"
)


def by_definition(values, alpha, margin, unit="metric"):
    """Difference, p, p_t, p_holm, p_equivalent and mde by definition, for the only task."""
    shown = interval(values, 1 - alpha)
    effect = minimum_detectable_effect(np.std(values, ddof=1), len(values), alpha)
    if unit == "ratio":
        shown = Interval(*np.exp([shown.mean, shown.low, shown.high]).tolist(), shown.n)
        effect = np.exp(effect)
    sums = [abs(np.dot(signs, values)) for signs in product((1, -1), repeat=len(values))]
    p = np.mean(np.array(sums) >= abs(np.sum(values)) - 1e-9)
    p_t = stats.ttest_1samp(values, 0).pvalue
    sides = None
    if margin is not None:
        above = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
        sides = max(above, stats.ttest_1samp(values, margin, alternative="less").pvalue)
    return shown, p, p_t, p_t, sides, effect


def test_differences_on_one_task_by_hand():
    """Five pairs, three axes of which one cannot be used, two levels of which one run misses the second."""
    theirs, ours = [0.50, 0.52, 0.54, 0.50, 0.52], [0.53, 0.54, 0.55, 0.54, 0.53]
    to_1, to_2 = [[30, 28, 32, 30, 26], [10, 16, 14, 12, 18]], [[38, 36, 35, 39, 34], [20, 40, 21, 24, 25]]
    both = []
    for arm, final, one, two in zip(("grpo", "new"), (theirs, ours), to_1, to_2, strict=True):
        columns = {"level_1": 0.2, "level_2": 0.4, "steps_end": 40.0, "tokens_end": 4000.0}
        for axis, scale in (("steps", 1), ("tokens", 100), ("seconds", np.nan)):
            columns |= {f"{axis}_to_1": scale * np.array(one), f"{axis}_to_2": scale * np.array(two)}
            columns |= {f"{axis}_to_1_censored": "", f"{axis}_to_2_censored": ""}
            if axis != "seconds":
                columns[f"{axis}_to_2_censored"] = ["right" if at == 40 else "" for at in two]
        both.append(runs_by_hand(arm, final, **columns))
    chosen = Endpoints(
        alpha=0.1, margin=0.04, levels={"sums": [0.2, 0.4]}, primary="final", primary_axis="tokens"
    )
    d = np.subtract(ours, theirs)  # .03 .02 .01 .04 .01
    time_1, time_2 = np.subtract(to_1[1], to_1[0]), np.subtract(to_2[1], to_2[0])
    speed = (np.log(to_1[0]) + np.log(to_2[0]) - np.log(to_1[1]) - np.log(to_2[1])) / 2

    def endpoint(name, axis, column, role="secondary"):
        statistics = by_definition(d * SCALE[column], 0.1, 0.04)
        return ("sums", "new", "grpo", name, axis, role, None, "metric", *statistics, 5, 0, "", "higher", "")

    def time(number, level, axis, scale, values, end=None):
        note = f"restricted means up to {end} {axis}: 1 of 10 runs never get there" if end else ""
        where = ("sums", "new", "grpo", f"time_to_{number}", axis, "secondary", level, axis)
        return (*where, *by_definition(scale * values, 0.1, None), 5, int(bool(end)), "", "lower", note)

    def ratio(axis, end):
        note = f"1 of 10 runs never get to some level and count with the end, {end} {axis}, which makes the"
        where = ("sums", "new", "grpo", "speed", axis, "secondary", None, "ratio")
        bound = ("at most", "no statement", f"{note} ratio a bound")
        return (*where, *by_definition(speed, 0.1, None, "ratio"), 5, 1, *bound)

    def clock(name, level=None, unit="metric"):
        where = ("sums", "new", "grpo", name, "seconds", "secondary", level, unit)
        return (*where, *[None] * 6, 5, 0, "", "no statement", NO_CLOCK)

    table = paired_differences(pd.concat([both[1][::-1], both[0]]), endpoints=chosen)
    same(
        table,
        COLUMNS,
        [
            *(endpoint(name, "steps", name) for name in ("final", "peak", "auc", "last3")),
            endpoint("final", "tokens", "final_tokens", "primary"),
            endpoint("auc", "tokens", "auc_tokens"),
            *(clock("final"), clock("auc")),
            *(time(1, 0.2, "steps", 1, time_1), time(2, 0.4, "steps", 1, time_2, 40), ratio("steps", 40)),
            *(time(1, 0.2, "tokens", 100, time_1), time(2, 0.4, "tokens", 100, time_2, 4000)),
            ratio("tokens", 4000),
            *(clock("time_to_1", 0.2, "seconds"), clock("time_to_2", 0.4, "seconds")),
            clock("speed", None, "ratio"),
        ],
    )
