"""Endpoints are declared once, hashed, and rows made under other ones are refused."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.analysis.summaries import summarize_runs
from benchmark.endpoints import MACRO, Endpoints, check_endpoints
from benchmark.rows import to_frame
from benchmark.suite import SUITES, Suite, load_suite
from tasks.errors import UserError
from tasks.settings import build_settings


def table(**keys):
    return build_settings(Endpoints, keys, source="toy.toml")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"levels": {"sums": [0.5, 0.5]}}, "rising"),
        ({"levels": {"sums": []}}, "rising"),
        ({"levels": {"sums": [0.0]}}, r"in \(0, 1\]"),
        ({"levels": {"sums": [1.1]}}, r"in \(0, 1\]"),
        ({"levels": {"sums": [0.5]}, "reference": {"sums": {"base": 0.1, "gain": 0.2}}}, "keep one of them"),
        ({"reference": {"sums": {"base": 0.8, "gain": 0.5}}}, "lead above 1"),
        ({"horizon": {"tokens": 0}}, "positive number"),
        ({"axes": ["steps", "steps"]}, "name each once"),
        ({"axes": ["tokens"]}, "primary_axis='steps' is not in axes"),
        ({"primary": "peak", "primary_axis": "tokens"}, "use 'steps'"),
        ({"margin": 0}, "greater than 0"),
        ({"speed_margin": 1}, "greater than 1"),
        ({"alpha": 0.5}, "less than 0.5"),
        ({"min_pairs": 4}, "greater than or equal to 5"),
        ({"marign": 0.1}, "did you mean 'margin'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(keys, message):
    with pytest.raises(UserError, match=message) as caught:
        table(**keys)
    assert "\n" not in str(caught.value)


def test_levels_come_from_the_file_or_from_a_frozen_gain():
    endpoints = table(levels={"sums": [0.5, 0.6]}, reference={"words": {"base": 0.2, "gain": 0.4}})
    assert endpoints.levels_of("sums") == (0.5, 0.6)
    assert endpoints.levels_of("words") == pytest.approx((0.3, 0.4, 0.5))
    assert endpoints.levels_of("else") == ()
    assert endpoints.named_tasks() == {"sums", "words"}
    assert table(levels={MACRO: [0.5]}).named_tasks() == set()


def test_every_key_changes_the_hash():
    changes = [
        {"primary": "final"}, {"primary_axis": "tokens"}, {"axes": ["steps"]}, {"levels": {"sums": [0.5]}},
        {"reference": {"sums": {"base": 0.1, "gain": 0.2}}}, {"horizon": {"tokens": 10.0}}, {"margin": 0.02},
        {"speed_margin": 1.5}, {"alpha": 0.01}, {"min_pairs": 6},
    ]  # fmt: skip
    assert {key for one in changes for key in one} == set(Endpoints.model_fields)
    assert len({table(**one).digest() for one in [{}, *changes]}) == len(changes) + 1


def test_rows_of_other_endpoints_are_refused(make_rows):
    frame = to_frame(make_rows(np.random.default_rng(0), tasks=["sums"]))
    ours, theirs = table(margin=0.03), table(margin=0.05)
    digest = {"ours": ours.digest(), "theirs": theirs.digest()}
    summarize_runs(frame.assign(endpoints=digest["ours"]), endpoints=ours)
    summarize_runs(frame.assign(endpoints=""), endpoints=ours)  # rows older than the column
    with pytest.raises(UserError, match=rf"rows made under {digest['theirs'][:12]}, the suite declares"):
        summarize_runs(frame.assign(endpoints=digest["theirs"]), endpoints=ours)
    mixed = frame.assign(endpoints=[digest["ours"]] * (len(frame) - 1) + [""])
    with pytest.raises(UserError, match="rows made under none, "):
        check_endpoints(mixed, ours)
    smoke = frame.assign(endpoints=digest["theirs"], kind="smoke")
    assert len(summarize_runs(frame.assign(endpoints=digest["ours"]), endpoints=ours)) == 10
    with pytest.raises(UserError, match="rows made under"):
        summarize_runs(smoke, endpoints=ours, kind="smoke")


@pytest.mark.parametrize("name", sorted(path.stem for path in SUITES.glob("*.toml")))
def test_shipped_suites_declare_levels_of_their_tasks(name):
    suite = load_suite(name)
    assert suite.endpoints.named_tasks() <= set(suite.tasks)


def test_levels_of_a_task_that_is_not_asked_are_refused():
    raw = load_suite("embedded").model_dump()
    with pytest.raises(UserError, match=r"levels for 'add22', which is not asked; did you mean 'add2'"):
        build_settings(Suite, raw | {"endpoints": {"levels": {"add22": [0.5]}}}, source="toy.toml")
