"""When runs reached levels, by hand: a table of arms, pairs of times and pairs of speeds."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis.compare import crossing_table
from benchmark.analysis.time_pairs import levels_of, speed_pairs, time_pairs
from benchmark.endpoints import MACRO
from benchmark.stats import Interval
from tests.tables import same

NO_CLOCK = "rows of cpu, cuda: seconds compare on one kind of machine only"
LOW = "the schedule looks too late, or the level is low"


def runs_of(arm, *seeds, task="sums", levels=(0.4, 0.9), end=40.0):
    """Make runs from texts like "10 <10 >": steps to a level, there at the first look, not there by the end.

    There are 100 tokens per step, and no seconds.
    """
    records = []
    for seed, text in enumerate(seeds):
        record = {"task": task, "arm": arm, "seed": seed, "seconds_reason": NO_CLOCK, "seconds_end": np.nan}
        record |= {"steps_reason": "", "steps_end": end, "tokens_reason": "", "tokens_end": 100 * end}
        for number, (level, one) in enumerate(zip(levels, text.split(), strict=True), start=1):
            at = end if one == ">" else np.nan if one == "-" else float(one.strip("<"))
            censored = {">": "right", "<": "left"}.get(one[0], "")
            record |= {f"level_{number}": level, f"seconds_to_{number}": np.nan}
            record |= {f"steps_to_{number}": at, f"tokens_to_{number}": 100 * at}
            record |= {f"{axis}_to_{number}_censored": censored for axis in ("steps", "tokens")}
            record |= {f"seconds_to_{number}_censored": ""}
        records.append(record)
    return pd.DataFrame(records)


COLUMNS = "task arm axis number level n n_reached n_left n_right end restricted text reason"


def first_look(left, n, late):
    return f"{left} of {n} runs are there at the first look ({late}) already: {LOW}"


def test_the_table_of_crossings_by_hand():
    runs = pd.concat(
        [
            runs_of("grpo", "7", "8", task=MACRO, levels=(0.5,)),
            runs_of("new", "10 35", "30 >", "20 >")[::-1],
            runs_of("grpo", "<10 >"),
            runs_of("grpo", "12.34567 30", "<0 40", "<10 <0", task="words"),
        ]
    )
    h1, h2, h3 = 10.886622, 3.1426969, 1.5388418  # t(.9, 2) 10 / sqrt 3; t(.9, 2) 5 / 3; t(.9, 1) / 2
    clock = (np.nan, np.nan, np.nan, np.nan, None, "", NO_CLOCK)  # no number in a column of numbers
    untrained = f"1 of 3 runs are there at the untrained policy already: {LOW}"
    same(
        crossing_table(runs, level=0.8),
        COLUMNS,
        [
            ("sums", "grpo", "steps", 1, 0.4, 1, 0, 1, 0, 40, None, "<=10", first_look(1, 1, 10)),
            ("sums", "grpo", "steps", 2, 0.9, 1, 0, 0, 1, 40, Interval(40, None, None, 1), ">40", ""),
            ("sums", "grpo", "tokens", 1, 0.4, 1, 0, 1, 0, 4000, None, "<=1000", first_look(1, 1, 1000)),
            ("sums", "grpo", "tokens", 2, 0.9, 1, 0, 0, 1, 4000, Interval(4000, None, None, 1), ">4000", ""),
            ("sums", "grpo", "seconds", 1, 0.4, 1, *clock),
            ("sums", "grpo", "seconds", 2, 0.9, 1, *clock),
            ("sums", "new", "steps", 1, 0.4, 3, 3, 0, 0, 40, Interval(20, 20 - h1, 20 + h1, 3), "20", ""),
            (
                *("sums", "new", "steps", 2, 0.9, 3, 1, 0, 2, 40),
                *(Interval(115 / 3, 115 / 3 - h2, 115 / 3 + h2, 3), ">38.33", ""),
            ),
            (
                *("sums", "new", "tokens", 1, 0.4, 3, 3, 0, 0, 4000),
                *(Interval(2000, 2000 - 100 * h1, 2000 + 100 * h1, 3), "2000", ""),
            ),
            (
                *("sums", "new", "tokens", 2, 0.9, 3, 1, 0, 2, 4000),
                *(Interval(11500 / 3, 11500 / 3 - 100 * h2, 11500 / 3 + 100 * h2, 3), ">3833", ""),
            ),
            ("sums", "new", "seconds", 1, 0.4, 3, *clock),
            ("sums", "new", "seconds", 2, 0.9, 3, *clock),
            ("words", "grpo", "steps", 1, 0.4, 3, 1, 2, 0, 40, None, "<=10", first_look(2, 3, 10)),
            ("words", "grpo", "steps", 2, 0.9, 3, 2, 1, 0, 40, None, "<=0", untrained),
            ("words", "grpo", "tokens", 1, 0.4, 3, 1, 2, 0, 4000, None, "<=1000", first_look(2, 3, 1000)),
            ("words", "grpo", "tokens", 2, 0.9, 3, 2, 1, 0, 4000, None, "<=0", untrained),
            ("words", "grpo", "seconds", 1, 0.4, 3, *clock),
            ("words", "grpo", "seconds", 2, 0.9, 3, *clock),
            (MACRO, "grpo", "steps", 1, 0.5, 2, 2, 0, 0, 40, Interval(7.5, 7.5 - h3, 7.5 + h3, 2), "7.5", ""),
            (
                *(MACRO, "grpo", "tokens", 1, 0.5, 2, 2, 0, 0, 4000),
                *(Interval(750, 750 - 100 * h3, 750 + 100 * h3, 2), "750", ""),
            ),
            (MACRO, "grpo", "seconds", 1, 0.5, 2, *clock),
        ],
    )
    alone = crossing_table(runs_of("grpo", "10", "30", levels=(0.5,)))
    assert alone["restricted"].iloc[0].high == pytest.approx(20 + 12.706205 * 10)  # t(.975, 1)
    same(crossing_table(runs_of("grpo", "", levels=())), COLUMNS, [])


def fields(pairs):
    """Return a `Pairs` as a tuple, its differences as numbers to compare with a tolerance."""
    values = asdict(pairs)
    found = values.pop("difference_s")
    return (*values.values(), None if found is None else pytest.approx(found.tolist()))


def test_levels_that_the_task_does_not_have_are_left_out():
    assert levels_of(runs_of("new", "10 - 30", levels=(0.4, np.nan, 0.6))) == [1, 3]
    assert levels_of(runs_of("new", "", levels=())) == []


@pytest.mark.parametrize(
    ("ours", "theirs", "difference", "n_censored", "reason"),
    [
        (["10", "15"], ["20", "30"], [-10.0, -15.0], 0, ""),
        (["20"], ["30"], [-10.0], 0, ""),
        (
            *(["10", ">"], [">", ">"], [-30.0, 0.0], 3),
            "restricted means up to 40 {axis}: 3 of 4 runs never get there",
        ),
        (
            ["15", ">"],
            ["20", "30"],
            [-5.0, 10.0],
            1,
            "restricted means up to 40 {axis}: 1 of 4 runs never get there",
        ),
        ([">"], ["30"], [10.0], 1, "restricted means up to 40 {axis}: 1 of 2 runs never get there"),
        ([">", ">"], [">", ">"], None, 0, "no run reaches 0.4 by 40 {axis}"),
        ([">"], [">"], None, 0, "no run reaches 0.4 by 40 {axis}"),
        ([">", "<10"], ["<5", ">"], None, 0, first_look(2, 4, 10)),
        (["15", "10"], ["<0", ">"], None, 0, f"1 of 4 runs are there at the untrained policy already: {LOW}"),
    ],
)
def test_pairs_of_times_by_hand(ours, theirs, difference, n_censored, reason):
    for axis, scale in (("steps", 1), ("tokens", 100)):
        pairs = time_pairs(
            *(runs_of(arm, *times, levels=(0.4,)) for arm, times in (("new", ours), ("grpo", theirs))),
            axis,
            1,
        )
        scaled = None if difference is None else [scale * one for one in difference]
        said = reason.format(axis=axis).replace("up to 40", f"up to {40 * scale}")
        said = said.replace("by 40", f"by {40 * scale}").replace("look (10)", f"look ({10 * scale})")
        assert fields(pairs) == (
            *("time_to_1", axis, axis, len(ours), None, 0.4, n_censored, "", said, scaled),
        )


def test_pairs_of_times_on_an_axis_that_cannot_be_used():
    ours, theirs = runs_of("new", "10 >"), runs_of("grpo", "10 20")
    for number, level in ((1, 0.4), (2, 0.9)):
        assert fields(time_pairs(ours, theirs, "seconds", number)) == (
            *(f"time_to_{number}", "seconds", "seconds", 1, None, level, 0, "", NO_CLOCK, None),
        )
    speeds = fields(speed_pairs(ours, theirs, "seconds", 0.25))
    assert speeds == ("speed", "seconds", "ratio", 1, 0.25, None, 0, "", NO_CLOCK, None)


BOUND = "{} of 4 runs never get to some level and count with the end, 40 steps, which makes the ratio a bound"


@pytest.mark.parametrize(
    ("ours", "theirs", "ratios", "n_censored", "bound", "reason"),
    [
        # how many times as fast: the geometric mean over levels of theirs / ours
        (["5 10 20", "10 10 10"], ["10 20 40", "20 40 10"], [2, 2], 0, "", ""),
        (
            ["5 10 >", "8 20 >"],
            ["10 20 >", "8 5 >"],
            [2, 0.5],
            0,
            "",
            "without the levels 0.9: no run gets there",
        ),
        (
            ["5 > >", "8 > >"],
            ["10 > >", "4 > >"],
            [2, 0.5],
            0,
            "",
            "without the levels 0.6, 0.9: no run gets there",
        ),
        (["5 10 >", "8 > >"], ["5 5 10", "8 20 10"], [0.5, 0.5], 2, "at most", BOUND.format(2)),
        (["5 10 20", "8 20 10"], ["10 20 >", "8 20 10"], [2, 1], 1, "at least", BOUND.format(1)),
        (["> 10 20", "8 > 10"], ["10 20 >", "> 8 2"], [1, 0.2 ** (1 / 3)], 4, "neither", BOUND.format(4)),
        (
            *(["> 10 >", "8 10 >"], ["10 20 >", "8 10 >"], [0.5**0.5, 1], 1, "at most"),
            f"without the levels 0.9: no run gets there; {BOUND.format(1)}",
        ),
        ([">  > >", "> > >"], ["> > >", "> > >"], None, 0, "", "no run reaches any level"),
        (
            *(["<5 10 20", "8 20 10"], ["10 <0 >", "8 20 10"], None, 0, ""),
            "level 0.4, 0.6: some run is there too early to tell when",
        ),
    ],
)
def test_pairs_of_speeds_by_hand(ours, theirs, ratios, n_censored, bound, reason):
    levels = (0.4, 0.6, 0.9)
    pairs = speed_pairs(
        runs_of("new", *ours, levels=levels), runs_of("grpo", *theirs, levels=levels), "steps", 0.2
    )
    logs = None if ratios is None else np.log(ratios).tolist()
    margin = None if bound else 0.2
    wanted = ("speed", "steps", "ratio", 2, margin, None, n_censored, bound, reason, logs)
    assert fields(pairs) == wanted


def test_a_speed_of_one_pair_on_tokens():
    ours, theirs = runs_of("new", "10 >"), runs_of("grpo", "20 20")
    assert fields(speed_pairs(ours, theirs, "tokens", 0.2)) == (
        *("speed", "tokens", "ratio", 1, None, None, 1, "at most"),
        BOUND.format(1).replace("of 4", "of 2").replace("40 steps", "4000 tokens"),
        [pytest.approx(0.0, abs=1e-12)],
    )
