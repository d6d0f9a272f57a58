"""The probe with a learning rate of 0: quiet when nothing moves, loud when something does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import statsmodels.api

from tasks.engines.transformers_engine import TransformersEngine
from tasks.errors import UserError
from trainer import __main__ as command_line
from trainer import loop
from trainer.config import TrainConfig
from trainer.drift import WATCHED, Trend, drift_report, measure_drift
from trainer.drift import _trend as trend
from trainer.open_policy import Policy

Make = Callable[..., TrainConfig]
pytestmark = pytest.mark.usefixtures("odd_is_right")


def quiet(line: str) -> None:
    del line


@pytest.fixture
def writes_to_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the weight sync of step 2 add a little to one weight."""
    synced = loop.sync_weights
    calls: list[int] = []

    def sync(policy: Policy, *others: Any) -> float:
        calls.append(1)
        if len(calls) == 2:
            next(policy.model.parameters()).data[0, 0] += 1e-3
        return synced(policy, *others)

    monkeypatch.setattr(loop, "sync_weights", sync)


def test_nothing_moves(make_config: Make) -> None:
    found = measure_drift(make_config(weight_decay=0.1), 5, report=quiet)
    assert found.before == found.after
    assert [line["step"] for line in found.steps] == [1, 2, 3, 4, 5]
    assert all(0 < line["check/rollout_logprob_gap"] < 1e-3 for line in found.steps)
    assert found.trends.keys() == WATCHED.keys()
    text = drift_report(found)
    assert text.endswith(f"weights: unchanged, {found.before[:12]}")
    assert "nan" not in text


@pytest.mark.usefixtures("writes_to_the_weights")
def test_weights_that_move_are_named(make_config: Make) -> None:
    found = measure_drift(make_config(), 3, report=quiet)
    assert found.before != found.after
    assert f"CHANGED from {found.before[:12]} to {found.after[:12]} at learning rate 0" in drift_report(found)


def test_a_gap_that_grows_has_a_slope(make_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe is for gaps that creep: an engine whose log-probabilities get worse from call to call."""
    generate = TransformersEngine.generate
    calls: list[int] = []

    def worse(self: TransformersEngine, *arguments: Any) -> Any:
        calls.append(1)
        return [
            [
                type(one)(
                    tokens=one.tokens,
                    logprobs=tuple(value - 0.01 * len(calls) for value in one.logprobs),
                    finish=one.finish,
                )
                for one in group
            ]
            for group in generate(self, *arguments)
        ]

    monkeypatch.setattr(TransformersEngine, "generate", worse)
    found = measure_drift(make_config(), 4, report=quiet)
    slope = found.trends["check/rollout_logprob_gap_mean"]
    assert slope.slope == pytest.approx(0.01, rel=1e-3)
    assert slope.slope > 100 * slope.stderr


def test_a_trend_is_ordinary_least_squares() -> None:
    values = [0.1, 0.4, 0.2, 0.7, 0.5]
    fit = statsmodels.api.OLS(values, statsmodels.api.add_constant(np.arange(5))).fit()
    found = trend(values)
    assert (found.slope, found.stderr) == pytest.approx((fit.params[1], fit.bse[1]), rel=1e-12)
    assert trend([0.0] * 4) == Trend(slope=0.0, stderr=0.0)


def test_two_steps_have_no_standard_error(make_config: Make) -> None:
    with pytest.raises(UserError, match="--steps 2: a slope with a standard error needs 3 or more"):
        measure_drift(make_config(), 2)


@pytest.mark.usefixtures("writes_to_the_weights")
def test_the_command_ends_with_1_when_weights_move(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["problems_per_step=1", "group_size=2", "max_new_tokens=4"]
    words = ["trainer", "drift", "embedded", "--steps", "3", *(w for one in small for w in ("--set", one))]
    monkeypatch.setattr("sys.argv", words)
    monkeypatch.setattr(command_line, "stop_on_sigterm", lambda: None)
    with pytest.raises(SystemExit) as caught:
        command_line.main()
    assert caught.value.code == 1
    assert "weights: CHANGED from" in capsys.readouterr().out.splitlines()[-1]
