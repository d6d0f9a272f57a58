"""Speeds and times to levels between two arms: a run that never gets there is never called faster."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmark.analysis.compare import crossing_table, paired_differences, summarize_runs
from benchmark.endpoints import Endpoints
from benchmark.stats import ratio_interval, speed_log_ratios
from tests.tables import endpoint_rows, line

LEVELS = Endpoints(levels={"sums": [0.38, 0.41], "words": [0.5]})


def speed_ratio(by_arm, names, baseline="grpo", arm="lambda_grpo"):
    return ratio_interval(speed_log_ratios(by_arm[baseline][names], by_arm[arm][names]))


def test_speed_uses_the_levels_that_some_run_reaches(make_rows):
    runs = summarize_runs(endpoint_rows(make_rows, tasks=["sums"]), endpoints=LEVELS)
    record = line(paired_differences(runs, endpoints=LEVELS), endpoint="speed", axis="tokens")
    by_arm = {arm: group.sort_values("seed") for arm, group in runs.groupby("arm")}
    wanted = speed_ratio(by_arm, ["tokens_to_1", "tokens_to_2"])
    assert (record["difference"], record["unit"], record["reason"]) == (wanted, "ratio", "")
    assert (record["verdict"], record["bound"]) == ("higher", "")
    far = Endpoints(levels={"sums": [0.38, 0.99]})
    table = paired_differences(
        summarize_runs(endpoint_rows(make_rows, tasks=["sums"]), endpoints=far), endpoints=far
    )
    record = line(table, endpoint="speed", axis="steps")
    assert record["reason"] == "without the levels 0.99: no run gets there"
    assert (record["difference"], record["bound"]) == (speed_ratio(by_arm, ["steps_to_1"]), "")
    never = line(table, endpoint="time_to_2", axis="steps")
    assert (never["difference"], never["verdict"]) == (None, "no statement")
    assert never["reason"] == "no run reaches 0.99 by 40 steps"
    nowhere = Endpoints(levels={"sums": [0.99]})
    runs = summarize_runs(endpoint_rows(make_rows, tasks=["sums"]), endpoints=nowhere)
    record = line(paired_differences(runs, endpoints=nowhere), endpoint="speed", axis="steps")
    assert (record["difference"], record["reason"]) == (None, "no run reaches any level")


def crossing_runs(grpo, arm, end=100.0, seeds=6):
    """Runs that are at two levels after so many steps; None: not by the end."""
    records = []
    for name, times in (("grpo", grpo), ("fast", arm)):
        for seed in range(seeds):
            record = {"task": "sums", "arm": name, "seed": seed, "base": 0.1, "higher_is_better": True}
            record |= dict.fromkeys(("final", "peak", "auc", "last3"), 0.5 + 0.01 * seed)
            record |= {"steps_reason": "", "steps_end": end, "level_1": 0.3, "level_2": 0.6}
            for number, at in enumerate(times, start=1):
                record[f"steps_to_{number}"] = end if at is None else at * (1 + seed / 50 * (name == "fast"))
                record[f"steps_to_{number}_censored"] = "" if at is not None else "right"
            records.append(record)
    return pd.DataFrame(records)


STEPS_ONLY = Endpoints(axes=["steps"], levels={"sums": [0.3, 0.6]})


@pytest.mark.parametrize(
    ("grpo", "fast", "bound", "verdict"),
    [
        ((40, 90), (10, 20), "", "higher"),
        ((40, 90), (10, None), "at most", "no statement"),  # half the time to .3, and never at .6
        ((20, 90), (40, None), "at most", "lower"),  # slower to .3, and never at .6
        ((40, None), (20, 90), "at least", "higher"),
        ((10, None), (40, 90), "at least", "no statement"),
        ((40, None), (10, None), "", "higher"),  # nobody is at .6: it is left out, and named
    ],
)
def test_an_arm_that_never_gets_there_is_never_called_faster(grpo, fast, bound, verdict):
    table = paired_differences(crossing_runs(grpo, fast), endpoints=STEPS_ONLY)
    record = line(table, endpoint="speed")
    assert (record["bound"], record["verdict"]) == (bound, verdict)
    assert (record["p_equivalent"] is None) == bool(bound)
    if bound:
        assert record["n_censored"] == 6
        assert record["reason"].startswith("6 of 12 runs never get to some level and count with the end")
    swapped = line(paired_differences(crossing_runs(fast, grpo), endpoints=STEPS_ONLY), endpoint="speed")
    assert swapped["bound"] == {"at most": "at least", "at least": "at most"}.get(bound, "")


def test_a_speed_bounded_on_both_sides_says_nothing():
    runs = crossing_runs((40, 90), (10, 20))
    for arm, seed in (("grpo", 0), ("fast", 1)):
        hit = (runs["arm"] == arm) & (runs["seed"] == seed)
        runs.loc[hit, ["steps_to_2", "steps_to_2_censored"]] = [100.0, "right"]
    record = line(paired_differences(runs, endpoints=STEPS_ONLY), endpoint="speed")
    assert record["p_holm"] < 0.05
    assert (record["bound"], record["verdict"], record["n_censored"]) == ("neither", "no statement", 2)
    time = line(paired_differences(runs, endpoints=STEPS_ONLY), endpoint="time_to_2")
    assert time["reason"] == "restricted means up to 100 steps: 2 of 12 runs never get there"


def test_a_level_that_is_there_too_early_is_an_error_in_the_schedule(make_rows):
    early = Endpoints(levels={"sums": [0.31, 0.44]})
    runs = summarize_runs(endpoint_rows(make_rows, tasks=["sums"]), endpoints=early)
    table = paired_differences(runs, endpoints=early)
    speed = line(table, endpoint="speed", axis="steps")
    assert (speed["difference"], speed["verdict"]) == (None, "no statement")
    assert speed["reason"] == "level 0.31: some run is there too early to tell when"
    record = line(table, endpoint="time_to_1", axis="steps")
    assert (record["difference"], record["p"], record["verdict"]) == (None, None, "no statement")
    assert "the schedule looks too late" in record["reason"]
    shown = line(crossing_table(runs), arm="grpo", axis="steps", number=1)
    assert shown["n_left"] > 0
    assert shown["restricted"] is None
    assert shown["text"].startswith("<=")
    assert "the schedule looks too late" in shown["reason"]


def test_crossing_table_counts_both_ends(make_rows):
    far = Endpoints(levels={"sums": [0.44, 0.47, 0.99]})
    runs = summarize_runs(endpoint_rows(make_rows, tasks=["sums"]), endpoints=far)
    table = crossing_table(runs)
    for row in table.to_dict("records"):
        own = runs[runs["arm"] == row["arm"]]
        name = f"{row['axis']}_to_{row['number']}"
        kinds = own[f"{name}_censored"].tolist()
        counts = [kinds.count(""), kinds.count("left"), kinds.count("right")]
        assert [row["n_reached"], row["n_left"], row["n_right"]] == counts
        if not row["n_left"]:
            assert row["restricted"].mean == pytest.approx(own[name].mean())
            assert row["text"].startswith(">") == (row["n_right"] > 0)
    never = line(table, arm="grpo", axis="tokens", number=3)
    assert (never["n_right"], never["text"], never["restricted"].low) == (5, ">40000", None)
    nothing = summarize_runs(endpoint_rows(make_rows, tasks=["sums"]))
    assert crossing_table(nothing).empty
