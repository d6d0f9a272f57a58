"""Words and edges of the gate's decision and of the check of endpoints."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmark.endpoints import Endpoints, check_endpoints
from benchmark.gate.decide import Verdict, decide, look
from tasks.errors import UserError

NOISE = np.array([0.001, -0.002, 0.002, 0.0])


def test_every_verdict_says_why_in_full():
    failed = look(NOISE - 0.05, 0.002, last=False)
    assert failed.reason == f"worse than the baseline: p {failed.p_worse:.2g} <= 0.002"
    passed = look(NOISE, 0.002, margin=0.02, last=True)
    assert passed.reason == f"a loss of 0.02 or more is rejected: p {passed.p_acceptable:.2g} <= 0.002"
    open_still = look(NOISE * 20, 0.002, margin=0.04, last=True)
    assert open_still.reason == "neither a loss nor the absence of one of 0.04 is shown at 0.002"
    assert (failed.verdict, passed.verdict, open_still.verdict) == ("fail", "pass", "inconclusive")


def test_the_margin_that_is_asked_for_decides():
    wide = NOISE * 3
    assert decide(wide, margin=0.03).verdict is Verdict.PASS
    assert decide(wide, margin=0.001).verdict is Verdict.MORE


def test_a_plan_may_have_one_look_and_two_pairs():
    found = decide([-0.05, -0.051], looks=[2], thresholds=[0.05])
    assert (found.verdict, found.n) == (Verdict.FAIL, 2)
    assert decide([1, 2, 1, 2]).verdict is decide([1.0, 2.0, 1.0, 2.0]).verdict


def test_errors_name_the_plan_and_the_first_look():
    with pytest.raises(
        ValueError, match=r"^differences of shape \(3,\): want at least 4, one axis, all finite$"
    ):
        decide(NOISE[:3])
    rule = r"want a margin above 0, increasing looks from 2 on and one threshold in \(0, 0\.5\) each$"
    for looks, thresholds in (([1, 4], [0.01, 0.02]), ([], []), ([4, 4], [0.01, 0.02]), ([4], [0.5])):
        with pytest.raises(ValueError, match=rule):
            decide(NOISE, looks=looks, thresholds=thresholds)


@pytest.mark.parametrize(
    ("scale", "shift", "spread"),
    [(1.0, 0.5e-12, False), (1.0, 1.5e-12, True), (100.0, 5e-11, False), (100.0, 5e-10, True)],
)
def test_equal_is_within_a_trillionth_of_the_size(scale, shift, spread):
    found = look(np.array([scale, scale, scale, scale + shift]), 0.002, last=True)
    assert (found.p_worse is not None) is spread
    assert (found.low is None) is not spread


def test_rows_of_other_endpoints_are_refused_in_full():
    ours, theirs = Endpoints(), Endpoints(margin=0.05)
    with pytest.raises(UserError) as caught:
        check_endpoints(pd.DataFrame({"endpoints": [theirs.digest(), None]}), ours)
    assert str(caught.value) == (
        f"column 'endpoints': rows made under none, {theirs.digest()[:12]}, the suite declares "
        f"{ours.digest()[:12]}; restore its [endpoints] table, or aggregate again into a new folder"
    )
    check_endpoints(pd.DataFrame({"endpoints": [None, ""]}), ours)  # older than the column
    check_endpoints(pd.DataFrame({"endpoints": [ours.digest()]}), ours)
