"""The gate's decision against plain scipy and by simulation; its health limits line by line."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from gate_folders import CONFIG, SOUND
from scipy import stats

from benchmark.gate.decide import ALPHA, LOOKS, MARGIN, THRESHOLDS, Verdict, decide, look
from benchmark.gate.health import LIMITS, checked_names, first_break


def by_definition(difference: list[float]) -> tuple[str, int]:
    """The rule in words: at every look both tests by scipy, the first that decides is final."""
    for n, threshold in ((4, 0.0020), (6, 0.0097), (8, 0.0222), (10, 0.0371)):
        if n > len(difference):
            return "more", n
        part = difference[:n]
        if stats.ttest_1samp(part, 0.0, alternative="less").pvalue <= threshold:
            return "fail", n
        if stats.ttest_1samp(part, -0.03, alternative="greater").pvalue <= threshold:
            return "pass", n
    return "inconclusive", 10


@pytest.mark.parametrize("mean", [0.0, -0.015, -0.03, 0.02])
@pytest.mark.parametrize("sd", [0.005, 0.02, 0.04])
def test_decision_is_the_rule_in_words(mean: float, sd: float) -> None:
    generator = np.random.default_rng(17)
    said = set()
    for _ in range(60):
        difference = list(generator.normal(mean, sd, 10))
        decision = decide(difference)
        assert (decision.verdict.value, decision.n) == by_definition(difference)
        said.add(decision.verdict)
    assert said <= {Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE}


@pytest.mark.parametrize("n", [4, 5, 6, 7, 8, 9])
def test_an_undecided_look_asks_for_more_and_reads_no_half_look(n: int) -> None:
    difference = [0.0, -0.03, 0.02, -0.05, 0.01, -0.04, 0.0, -0.02, 0.01][:n]
    decision = decide(difference)
    assert decision.verdict is Verdict.MORE
    assert decision.n == max(at for at in LOOKS if at <= n)
    assert decision.effect == pytest.approx(np.mean(difference[: decision.n]), rel=1e-12)


def test_numbers_of_a_look_by_hand() -> None:
    difference = np.array([-0.01, 0.01, -0.02, 0.0])
    decision = look(difference, 0.01, last=True)
    error = difference.std(ddof=1) / 2
    assert decision.effect == pytest.approx(-0.005)
    assert decision.sd == pytest.approx(0.0129099, rel=1e-5)
    assert decision.p_worse == pytest.approx(stats.ttest_1samp(difference, 0, alternative="less").pvalue)
    acceptable = stats.ttest_1samp(difference, -MARGIN, alternative="greater").pvalue
    assert decision.p_acceptable == pytest.approx(acceptable)
    half = stats.t.ppf(0.99, 3) * error
    assert (decision.low, decision.high) == pytest.approx((-0.005 - half, -0.005 + half))
    assert (decision.n, decision.level, decision.threshold) == (4, 0.98, 0.01)
    assert decision.verdict is Verdict.INCONCLUSIVE
    assert look(difference, 0.01, last=False).verdict is Verdict.MORE


def test_the_interval_and_the_tests_say_the_same() -> None:
    generator = np.random.default_rng(5)
    for mean in (-0.04, -0.02, 0.0, 0.02):
        for _ in range(50):
            one = look(generator.normal(mean, 0.02, 6), 0.02, last=True)
            assert one.high is not None
            assert one.low is not None
            assert (one.verdict is Verdict.FAIL) == (one.high <= 0)
            assert (one.verdict is Verdict.PASS) == (one.high > 0 and one.low >= -MARGIN)


def test_worse_than_nothing_wins_over_not_worse_than_the_margin() -> None:
    decision = decide([-0.0100, -0.0101, -0.0099, -0.0100])
    assert decision.p_worse is not None
    assert decision.p_acceptable is not None
    assert max(decision.p_worse, decision.p_acceptable) < THRESHOLDS[0]
    assert decision.verdict is Verdict.FAIL


@pytest.mark.parametrize("value", [0.0, -0.05, 0.05])
def test_equal_differences_decide_nothing(value: float) -> None:
    decision = decide([value] * 10)
    assert decision.verdict is Verdict.INCONCLUSIVE
    assert decision.n == 10
    assert (decision.sd, decision.p_worse, decision.p_acceptable) == (0.0, None, None)
    assert (decision.low, decision.high) == (None, None)
    assert "no spread" in decision.reason
    assert decide([value] * 4).verdict is Verdict.MORE


def test_spread_below_rounding_is_none() -> None:
    assert decide([-0.05, -0.05, -0.05 - 1e-14, -0.05]).p_worse is None
    assert decide([-0.05, -0.05, -0.05 - 1e-9, -0.05]).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("difference", "keys"),
    [
        ([0.0, 0.1, 0.2], {}),
        ([0.0, 0.1, 0.2, np.nan], {}),
        ([[0.0, 0.1], [0.2, 0.3]] * 2, {}),
        ([0.0, 0.1, 0.2, 0.3], {"margin": 0.0}),
        ([0.0, 0.1, 0.2, 0.3], {"looks": (4, 4), "thresholds": (0.1, 0.1)}),
        ([0.0, 0.1, 0.2, 0.3], {"looks": (1, 4), "thresholds": (0.1, 0.1)}),
        ([0.0, 0.1, 0.2, 0.3], {"looks": (4,), "thresholds": (0.1, 0.1)}),
        ([0.0, 0.1, 0.2, 0.3], {"looks": (), "thresholds": ()}),
        ([0.0, 0.1, 0.2, 0.3], {"looks": (4,), "thresholds": (0.5,)}),
        ([0.0, 0.1, 0.2, 0.3], {"looks": (4,), "thresholds": (0.0,)}),
    ],
)
def test_bad_input_is_refused(difference: Any, keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="want"):
        decide(difference, **keys)


def test_thresholds_spend_5_percent_together() -> None:
    """Without a stop for PASS: the chance that any look would call noise a loss. 400,000 draws: 0.0492."""
    generator = np.random.default_rng(3)
    draws = generator.normal(size=(60_000, LOOKS[-1]))
    crossed = np.zeros(len(draws), dtype=bool)
    for n, threshold in zip(LOOKS, THRESHOLDS, strict=True):
        part = draws[:, :n]
        t = part.mean(axis=1) / part.std(axis=1, ddof=1) * np.sqrt(n)
        crossed |= stats.t.cdf(t, n - 1) <= threshold
    assert 0.046 < crossed.mean() < ALPHA + 0.002  # 60,000 draws: standard error 0.0009


@pytest.mark.parametrize(
    ("mean", "sd", "fail", "passed"),
    [(0.0, 0.02, 0.025, 0.972), (-0.03, 0.02, 0.986, 0.012), (-0.03, 0.03, 0.867, 0.036)],
)
def test_simulated_gates(mean: float, sd: float, fail: float, passed: float) -> None:
    """Rates of 100,000 draws of another implementation; 1,500 here, 4 standard errors."""
    generator = np.random.default_rng(11)
    said = [decide(generator.normal(mean, sd, LOOKS[-1])).verdict for _ in range(1500)]
    for verdict, rate in ((Verdict.FAIL, fail), (Verdict.PASS, passed)):
        error = np.sqrt(rate * (1 - rate) / len(said))
        assert abs(said.count(verdict) / len(said) - rate) < 4 * error


def sound_lines() -> list[dict[str, Any]]:
    return [{"step": step, "tokens": 100 * step, **SOUND} for step in range(1, 17)]


def test_a_sound_run_is_healthy() -> None:
    assert first_break(sound_lines(), CONFIG, 0, checked_names(sound_lines())) is None
    assert checked_names(sound_lines()) == sorted(limit.name for limit in LIMITS)
    assert checked_names([]) == []


OUTSIDE = [
    ("check/grpo_identity", 2e-6),
    ("check/lambda_identity", 2e-6),
    ("check/loss", 2e-5),
    ("check/rollout_logprob_gap", 2e-3),
    ("check/rollout_logprob_gap_mean", 0.06),
    ("check/prefix_disagreement", 2e-4),
    ("check/weight_sync_gap", 2e-3),
    ("importance/mean", 1.02),
    ("importance/mean", 0.98),
    ("kl", -1e-4),
    ("entropy", -0.1),
    ("normaliser", -1.0),
    ("ratio/min", 0.9),
    ("ratio/max", 1.1),
    ("clip/low", 0.1),
    ("clip/high", 0.1),
    ("reward/known", 0.9),
    ("gradient_norm", -1.0),
    ("learning_rate", 2e-4),
]


@pytest.mark.parametrize(("name", "value"), OUTSIDE)
def test_every_limit_is_kept(name: str, value: float) -> None:
    lines = sound_lines()
    lines[6][name] = value
    lines[9][name] = value
    broken = first_break(lines, CONFIG, 3)
    assert broken is not None
    assert (broken.name, broken.seed, broken.step, broken.value) == (name, 3, 7, value)
    assert f"{name} at step 7 of seed 3 is {value:.4g}, want" in str(broken)


def test_every_limit_is_tried() -> None:
    without_bounds = {limit.name for limit in LIMITS if not limit.rule()}
    assert {limit.name for limit in LIMITS} - without_bounds <= {name for name, _ in OUTSIDE}
    assert without_bounds == {"loss"}


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "0.1", True])
def test_what_is_no_number_breaks(value: object) -> None:
    lines = sound_lines()
    lines[0]["loss"] = value
    broken = first_break(lines, CONFIG, 0)
    assert broken is not None
    assert (broken.name, broken.step, broken.value, broken.rule) == ("loss", 1, None, "a finite number")


def test_kl_starts_at_0() -> None:
    lines = sound_lines()
    lines[0]["kl"] = 1e-3
    broken = first_break(lines, CONFIG, 0)
    assert broken is not None
    assert (broken.name, broken.step) == ("kl", 1)
    lines = sound_lines()
    lines[1]["kl"] = 1e-3
    assert first_break(lines, CONFIG, 0) is None


def test_a_limit_applies_where_its_configuration_says() -> None:
    for key, value, name, outside in (
        ("dtype", "bfloat16", "check/rollout_logprob_gap", 0.2),
        ("update_dtype", "bfloat16", "check/prefix_disagreement", 0.2),
        ("updates_per_batch", 2, "clip/low", 0.1),
        ("schedule", "cosine", "learning_rate", 3e-5),
        ("warmup_steps", 4, "learning_rate", 3e-5),
    ):
        lines = sound_lines()
        lines[4][name] = outside
        assert first_break(lines, CONFIG, 0) is not None
        assert first_break(lines, CONFIG | {key: value}, 0) is None


def test_a_check_that_is_no_longer_logged_breaks() -> None:
    lines = sound_lines()
    for line in lines:
        del line["check/loss"]
    assert first_break(lines, CONFIG, 0) is None  # a trainer that never had it
    broken = first_break(lines, CONFIG, 0, ["check/loss"])
    assert broken is not None
    assert (broken.name, broken.step, broken.value) == ("check/loss", 1, None)


def test_steps_and_tokens_have_to_add_up() -> None:
    lines = sound_lines()
    del lines[5]
    broken = first_break(lines, CONFIG, 0)
    assert broken is not None
    assert (broken.name, broken.step, broken.value) == ("step", 6, 7.0)
    broken = first_break(sound_lines()[:10], CONFIG, 0)
    assert broken is not None
    assert (broken.name, broken.step, broken.rule) == ("step", 10, "16 steps in all")
    assert first_break([], CONFIG, 0) is not None
    for key, value in itertools.product(("tokens", "step_tokens"), (0, None, 99)):
        lines = sound_lines()
        lines[3][key] = value
        broken = first_break(lines, CONFIG, 0)
        assert broken is not None
        assert (broken.name, broken.step) == ("tokens", 4)
