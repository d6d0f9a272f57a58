"""From differences to verdicts: every way to conclude, and every way not to, with its reason."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmark.analysis.compare import paired_differences
from benchmark.endpoints import MACRO, Endpoints
from tasks.errors import UserError
from tests.tables import line, runs_by_hand

STEPS = Endpoints(axes=["steps"])
GRPO = [0.50, 0.52, 0.54, 0.50, 0.52]
IDLE = "grpo's own gain is not shown to exceed the margin, so this task cannot show it"


def compared(difference, *, endpoints=STEPS, endpoint="final", base=0.1, theirs=None, **columns):
    """Return the row of one endpoint where the arm is so much above the baseline, seed by seed."""
    theirs = np.array(GRPO[: len(difference)] if theirs is None else theirs)
    pair = [
        runs_by_hand("new", theirs + difference, base=base), runs_by_hand("grpo", theirs, base=base)
    ]  # fmt: skip
    for runs, name in zip(pair, ("new", "grpo"), strict=True):
        for column, values in columns.items():
            runs[column] = values[name] if isinstance(values, dict) else values
    return line(paired_differences(pd.concat(pair), endpoints=endpoints), endpoint=endpoint)


@pytest.mark.parametrize(
    ("difference", "base", "verdict", "reason"),
    [
        ([0.10, 0.12, 0.08, 0.11, 0.09], 0.1, "higher", ""),
        ([-0.10, -0.12, -0.08, -0.11, -0.09], 0.1, "lower", ""),
        ([0.10, 0.12, 0.08, 0.11, 0.09], 0.5, "higher", ""),  # the baseline has learnt nothing
        ([0.002, -0.002, 0.001, 0.0, -0.002], 0.1, "equivalent", ""),
        ([0.002, -0.002, 0.001, 0.0, -0.002], 0.5, "no statement", IDLE),
        ([0.1, -0.1, 0.2, -0.2, 0.1], 0.1, "none", ""),
        ([0.1, -0.1, 0.2, -0.2, 0.1], 0.5, "no statement", IDLE),
        (
            *([0.1, 0.11, 0.09, 0.08], 0.1, "no statement"),
            "4 pairs: fewer than the 5 that a conclusion needs",
        ),
        ([0.1] * 5, 0.1, "no statement", "all 5 differences are equal: no spread to build an interval from"),
        (
            *([0.1], 0.1, "no statement"),
            "1 pair of seeds: no interval and no test, train at least 2 (5 to be useful)",
        ),
    ],
)
def test_verdicts_on_a_metric(difference, base, verdict, reason):
    record = compared(difference, base=base)
    assert (record["verdict"], record["reason"], record["n"]) == (verdict, reason, len(difference))
    assert (record["p_equivalent"] is None) == (base == 0.5 or len(difference) < 2 or difference == [0.1] * 5)


def test_too_few_pairs_give_what_can_be_computed():
    assert compared([0.1])[["p", "p_t", "p_holm", "mde"]].tolist() == [None] * 4
    assert compared([0.1, 0.1])[["p", "p_t", "p_holm", "mde"]].tolist() == [0.5, None, None, None]
    assert compared([0.1, 0.2])[["p", "verdict"]].tolist() == [0.5, "no statement"]
    more = compared([0.10, 0.12, 0.08, 0.11, 0.09], endpoints=Endpoints(axes=["steps"], min_pairs=6))
    assert more[["verdict", "reason"]].tolist() == [
        "no statement",
        "5 pairs: fewer than the 6 that a conclusion needs",
    ]


def times(new, grpo, end=40.0):
    """Columns of one level that all of five seeds reach, or that the last ones of an arm never reach."""
    columns = {"level_1": 0.3, "steps_end": end, "steps_to_1": {"new": new, "grpo": grpo}}
    censored = {
        name: ["right" if at == end else "" for at in by] for name, by in columns["steps_to_1"].items()
    }
    return columns | {"steps_to_1_censored": censored}


NEVER = "restricted means up to 40 steps: 1 of {} runs never get there"


@pytest.mark.parametrize(
    ("new", "grpo", "time", "speed"),
    [
        ([10, 11, 10, 12, 10], [15, 16, 15, 19, 15], ("lower", ""), ("higher", "")),  # 1.5 times as fast
        ([15, 16, 15, 19, 15], [10, 11, 10, 12, 10], ("higher", ""), ("lower", "")),
        ([10.1, 10, 10, 10.2, 9.9], [10, 10, 10.1, 10, 10], ("none", ""), ("equivalent", "")),
        ([10, 20, 10, 30, 10], [20, 10, 30, 10, 10], ("none", ""), ("none", "")),
        ([10, 11, 10, 40], [15, 16, 15, 19], ("no statement", NEVER), ("no statement", "1 of {} runs never")),
        ([10, 11, 10, 9, 40], [15, 16, 15, 19, 18], ("none", NEVER), ("no statement", "1 of {} runs never")),
    ],
)
def test_verdicts_on_times_and_speeds(new, grpo, time, speed):
    n = len(new)
    few = "" if n > 4 else "4 pairs: fewer than the 5 that a conclusion needs; "
    for endpoint, (verdict, reason) in {"time_to_1": time, "speed": speed}.items():
        record = compared([0.1] * n, endpoint=endpoint, **times(new, grpo))
        assert record["verdict"] == verdict
        assert record["reason"].startswith(few + reason.format(2 * n))
        assert bool(record["reason"]) == bool(few + reason)
    assert record["unit"] == "ratio"


def test_a_speed_is_equivalent_within_its_own_margin():
    near = times([12, 12.1, 12, 12, 11.9], [10, 10, 10.1, 10, 10])
    for margin, verdict in ((1.25, "lower"), (1.1, "lower")):
        chosen = Endpoints(axes=["steps"], speed_margin=margin)
        record = compared([0.1] * 5, endpoint="speed", endpoints=chosen, **near)
        logs = np.log(near["steps_to_1"]["grpo"]) - np.log(near["steps_to_1"]["new"])
        wanted = stats.ttest_1samp(logs, -np.log(margin), alternative="greater").pvalue
        assert record["verdict"] == verdict  # a difference that is shown goes before a small one
        assert record["p_equivalent"] == pytest.approx(wanted)


def test_alpha_itself_is_enough():
    for difference, name, verdict in (
        ([0.10, 0.12, 0.08, 0.11, 0.09], "p_holm", "higher"),
        ([0.004, -0.004, 0.001, 0.0, -0.002], "p_equivalent", "equivalent"),
    ):
        p = compared(difference)[name]
        for alpha, said in ((p, verdict), (p * (1 - 1e-9), "none")):
            assert compared(difference, endpoints=Endpoints(axes=["steps"], alpha=alpha))["verdict"] == said


@pytest.mark.parametrize(
    ("gain", "margin", "shown"),
    [
        # mean .08, standard error .0141421: its 90 % interval starts at .08 - 2.1318 * .0141421 = .04985
        ([0.04, 0.06, 0.08, 0.10, 0.12], 0.048, True),
        ([0.04, 0.06, 0.08, 0.10, 0.12], 0.052, False),
        ([0.25] * 5, 0.2, True),
        ([0.25] * 5, 0.25, False),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_equivalence_needs_a_baseline_that_gains_more_than_the_margin(gain, margin, shown, sign):
    theirs = 0.5 + sign * np.array(gain)
    chosen = Endpoints(axes=["steps"], margin=margin)
    record = compared(
        [0.002, -0.002, 0.001, 0.0, -0.002],
        **{"base": 0.5, "theirs": theirs, "endpoints": chosen, "higher_is_better": sign > 0},
    )
    assert (record["p_equivalent"] is not None) == shown
    other = compared([0.002, -0.002], base=0.5, theirs=theirs[:2], higher_is_better=sign < 0)
    assert other["p_equivalent"] is None


def test_holm_is_over_the_tasks_of_one_arm():
    noise = np.array([0.01, -0.02, 0.015, -0.005, 0.02])
    runs, raw = [], {}
    for at, task in enumerate(("b", "a", MACRO, "z")):
        runs.append(runs_by_hand("grpo", GRPO, task=task))
        for arm, shift in (("new", 0.005), ("old", 0.02)):
            ours = np.array(GRPO) + noise + shift * (at + 1)
            runs.append(runs_by_hand(arm, ours, task=task))
            both = ours - np.array(GRPO)
            raw[task, arm] = stats.ttest_1samp(both, 0).pvalue
            raw[task, arm, "equivalent"] = stats.ttest_1samp(both, 0.03, alternative="less").pvalue
    table = paired_differences(pd.concat(runs), endpoints=Endpoints(axes=["steps"], primary="last3"))
    assert list(table[["task", "arm", "endpoint"]].itertuples(index=False, name=None)) == [
        (task, arm, endpoint)
        for task in ("a", "b", "z", MACRO)
        for arm in ("new", "old")
        for endpoint in ("final", "peak", "auc", "last3")
    ]
    primary = table[table["role"] == "primary"]
    assert primary[["task", "arm", "endpoint"]].to_numpy().tolist() == [
        [MACRO, "new", "last3"],
        [MACRO, "old", "last3"],
    ]
    assert set(table["role"]) == {"primary", "secondary"}
    for arm in ("new", "old"):
        for column, end in (("p_holm", ()), ("p_equivalent", ("equivalent",))):
            smallest, middle, largest = sorted(raw[(task, arm, *end)] for task in ("a", "b", "z"))
            adjusted = [min(1, 3 * smallest)]
            adjusted.append(max(adjusted[0], min(1, 2 * middle)))
            adjusted.append(max(adjusted[1], largest))
            rows = table[(table["arm"] == arm) & (table["endpoint"] == "final")]
            assert sorted(rows[column][rows["task"] != MACRO]) == pytest.approx(adjusted)
            assert line(rows, task=MACRO)[column] == pytest.approx(raw[(MACRO, arm, *end)])


def test_a_task_that_cannot_be_tested_is_no_member_of_the_family():
    """On the first task all differences are equal, on the second the baseline has learnt nothing."""
    noise = np.array([0.01, -0.02, 0.015, -0.005, 0.02])
    runs = []
    for task, difference, base in (("a", 0.1, 0.1), ("b", noise, 0.5), ("c", noise / 2, 0.1)):
        runs += [runs_by_hand("new", np.array(GRPO) + difference, task=task, base=base)]
        runs += [runs_by_hand("grpo", GRPO, task=task, base=base)]
    table = paired_differences(pd.concat(runs), endpoints=STEPS)
    a, b, c = (line(table, task=task, endpoint="final") for task in "abc")
    assert a[["p_t", "p_holm", "p_equivalent", "verdict"]].tolist() == [None, None, None, "no statement"]
    p = stats.ttest_1samp(noise, 0).pvalue  # of b and of c: the same differences but for their size
    assert [b["p_holm"], c["p_holm"]] == pytest.approx([min(1, 2 * p)] * 2)
    assert b[["p_equivalent", "verdict", "reason"]].tolist() == [None, "no statement", IDLE]
    nearer = stats.ttest_1samp(noise / 2, 0.03, alternative="less").pvalue
    assert c["p_equivalent"] == pytest.approx(nearer)
    assert c["verdict"] == "equivalent"


def test_what_cannot_be_paired_is_refused():
    def refusal(runs, baseline):
        with pytest.raises(UserError) as caught:
            paired_differences(runs, baseline)
        return str(caught.value)

    runs = pd.concat([runs_by_hand("grpo", GRPO, seeds=[9, 1, 7, 3, 2]), runs_by_hand("new", GRPO)])
    assert refusal(runs, "gpro") == "baseline 'gpro': no runs of that arm; did you mean 'grpo'?"
    need = "pairs need both {!r} and {!r}, so train the other arm with them"
    assert refusal(runs, "grpo") == (
        f"task 'sums': seeds 0, 4 exist only for arm 'new'; {need.format('new', 'grpo')}"
    )
    fewer = runs[(runs["arm"] == "grpo") | runs["seed"].isin([1, 2, 3])]
    assert refusal(fewer, "grpo") == (
        f"task 'sums': seeds 7, 9 exist only for arm 'grpo'; {need.format('new', 'grpo')}"
    )
    assert refusal(fewer, "new") == (
        f"task 'sums': seeds 7, 9 exist only for arm 'grpo'; {need.format('grpo', 'new')}"
    )
    alone = paired_differences(runs[runs["arm"] == "grpo"])
    assert (len(alone), list(alone)[:4]) == (0, ["task", "arm", "baseline", "endpoint"])
