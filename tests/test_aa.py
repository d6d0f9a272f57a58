"""The A/A study: components against their definition, no run twice, and a folder read without training."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gate_folders import make_folder, toy_suite
from scipy import stats

from benchmark.__main__ import main
from benchmark.aa.endpoints import endpoint_alarms
from benchmark.aa.report import markdown, study
from benchmark.aa.study import (
    count_alarms,
    disjoint,
    false_alarms,
    gate_decisions,
    seeds_needed,
)
from benchmark.gate.decide import Verdict
from benchmark.gate.results import read_results
from benchmark.rows import read_rows, to_frame
from benchmark.suite import load_suite
from tasks.errors import UserError, run_cli


def rows_of(folder: Path) -> pd.DataFrame:
    return to_frame(read_rows(folder / "rows.jsonl"))


def test_the_interval_of_a_rate_is_exact() -> None:
    found = count_alarms("t", "real", [True] * 3 + [False] * 17)
    assert (found.alarms, found.trials) == (3, 20)
    assert found.low == pytest.approx(stats.beta.ppf(0.025, 3, 18))
    assert found.high == pytest.approx(stats.beta.ppf(0.975, 4, 17))
    nothing = count_alarms("t", "real", [])
    assert (nothing.trials, nothing.low, nothing.high) == (0, None, None)
    shared = count_alarms("t", "real, paired anew", [True, False], independent=False)
    assert (shared.alarms, shared.trials, shared.low, shared.high) == (1, 2, None, None)


def test_no_run_stands_in_two_comparisons() -> None:
    value = 2.0 ** np.arange(23)  # a difference says which two runs it is made of
    cut = disjoint(value, 3)
    assert [len(one) for one in cut] == [3, 3, 3]
    assert np.concatenate(cut).tolist() == [value[2 * at] - value[2 * at + 1] for at in range(9)]
    assert disjoint(value[:5], 3) == []


def test_every_gate_has_fresh_pairs() -> None:
    generator = np.random.default_rng(4)
    stream = np.concatenate([generator.normal(0, 0.001, 4), generator.normal(-0.2, 0.001, 4)])
    stream = np.concatenate([stream, generator.normal(0, 0.08, 10), np.zeros(9)])
    found = gate_decisions(stream)
    assert [verdict for verdict, _ in found] == [Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE]
    assert [pairs for _, pairs in found] == [4, 4, 10]
    assert [verdict for verdict, _ in gate_decisions(stream[:10], -0.2)] == [Verdict.FAIL]
    assert gate_decisions(stream[:9]) == []


def test_false_alarms_are_at_their_rate_and_repeatable() -> None:
    value = np.random.default_rng(5).normal(0.5, 0.02, 240)
    found = false_alarms(value, np.random.default_rng(6), sizes=(5,), trials=150)
    again = false_alarms(value, np.random.default_rng(6), sizes=(5,), trials=150)
    assert found == again
    by_name = {(one.test, one.source): one for one in found}
    assert len(by_name) == len(found) == 2 * (3 + 1) + 2 * 3
    assert by_name["t test (95 % interval without 0), 5 pairs", "real"].trials == 24
    assert by_name["exact sign flip, 5 pairs", "simulated"].alarms == 0  # 5 pairs cannot reach 0.05
    for one in found:
        if one.source == "simulated":
            assert one.low is not None
            assert one.low <= one.stated, one
    loss = by_name["gate: PASS of a loss of 3 points", "simulated"]
    assert loss.alarms < 0.05 * loss.trials
    assert "fail" in loss.note
    anew = by_name["gate: PASS of a loss of 3 points", "real, paired anew"]
    assert (anew.trials, anew.low) == (200, None)


def test_a_broken_test_would_show() -> None:
    """The study sees a test that keeps no rate: differences that are not centred."""
    value = np.tile([0.55, 0.5], 120) + np.random.default_rng(7).normal(0, 0.01, 240)
    found = false_alarms(value, np.random.default_rng(8), sizes=(5,), trials=50)
    real = next(one for one in found if one.test.startswith("t test") and one.source == "real")
    assert real.low is not None
    assert real.low > 0.5


def test_seeds_needed() -> None:
    value = np.array([0.48, 0.52] * 20)
    assert seeds_needed(value) == 10  # SD of a difference 2.86 points
    assert seeds_needed(np.full(20, 0.5)) is None


def test_study_of_a_folder(tmp_path: Path) -> None:
    suite = toy_suite(seeds=list(range(24)))
    folder = make_folder(tmp_path / "pool", seeds=range(24), suite=suite)
    found = study(read_results(folder, suite), rows_of(folder), pairs=10, trials=20)
    assert found == study(read_results(folder, suite), rows_of(folder), pairs=10, trials=20)
    assert len(found["auc"]) == 24
    assert found["endpoints"]["auc"]["sd"] == pytest.approx(np.std(found["auc"], ddof=1))
    assert found["mde"] > 0
    text = markdown("toy", found)
    assert "items: not known" not in text
    assert "Variance components: not known, the folder has no texts." in text
    assert "| gate: FAIL of an unchanged trainer | real | 0.05 |" in text
    few = read_results(folder, suite, range(7))
    with pytest.raises(UserError, match="7 runs: an A/A study"):
        study(few, rows_of(folder), pairs=10, trials=20)


def test_runs_that_do_not_differ_give_no_number(tmp_path: Path) -> None:
    suite = toy_suite()
    folder = make_folder(tmp_path / "pool", suite=suite, row={"value": 0.5})
    found = study(read_results(folder, suite), rows_of(folder), pairs=10, trials=20)
    assert (found["mde"], found["seeds_needed"]) == (None, None)
    assert "Seeds needed: not known" in markdown("toy", found)


def test_the_command_studies_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    monkeypatch.setattr(
        "benchmark.jobs.run.run_suite", lambda suite, words, *rest: asked.append((suite, words))
    )
    suite = toy_suite(name="gate", seeds=list(range(12)), train={"steps": 40, "kl_beta": 0.05})
    folder = make_folder(tmp_path / "pool", seeds=range(12), suite=suite)
    claim = {"config": suite.model_dump(mode="json"), "config_hash": suite.digest()}
    claim["config"]["summary"] = load_suite("gate").summary
    claim["config"]["engine"] = "transformers"
    (folder / "suite.json").write_text(json.dumps(claim))
    words = ["benchmark", "aa", "gate", "--seeds", "12", "--out", str(folder), "--engine", "transformers"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr("benchmark.aa.report.TRIALS", 10)
    assert run_cli(main) == 0
    suite_asked, words_asked = asked[-1]
    assert suite_asked.seeds == list(range(12))
    assert words_asked[:3] == ["gate", "--set", f"seeds={json.dumps(list(range(12)))}"]
    assert "A/A study: lambda_grpo of suite gate, 12 seeds" in capsys.readouterr().out
    assert json.loads((folder / "aa.json").read_text())["seeds"] == list(range(12))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "endpoints={margin=0.02}"], "the gate's plan is auc"),
        (["--seeds", "7"], "train at least 8"),
    ],
)
def test_what_the_study_could_not_read_is_refused_before_training(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    trained: list[object] = []
    monkeypatch.setattr("benchmark.jobs.run.run_suite", lambda *args: trained.append(args))
    command = ["benchmark", "aa", "gate", "--out", str(tmp_path / "out"), *words]
    monkeypatch.setattr(sys, "argv", command)
    assert run_cli(main) == 2
    assert message in capsys.readouterr().err
    assert not trained


def test_every_endpoint_of_the_comparison_is_tried(tmp_path: Path) -> None:
    suite = toy_suite(seeds=list(range(40)))
    folder = make_folder(tmp_path / "pool", seeds=range(40), suite=suite, noise=1)
    found = endpoint_alarms(rows_of(folder), "lambda_grpo", sizes=(5,))
    by_name = {one.test: one for one in found}
    for name in (
        "verdict on final over steps, 5 pairs",
        "verdict on peak over steps, 5 pairs",
        "verdict on last3 over steps, 5 pairs",
        "verdict on auc over tokens, 5 pairs",
        "verdict on final over seconds, 5 pairs",
        "verdict on time_to_1 over steps, 5 pairs",
        "verdict on time_to_3 over tokens, 5 pairs",
        "verdict on speed over steps, 5 pairs",
        "exact sign flip of auc over steps, 5 pairs",
    ):
        assert name in by_name
    assert by_name["verdict on auc over steps, 5 pairs"].trials == 4
    assert by_name["tied set of 4 entries: any below, 5 seeds"].trials == 2


def test_sets_that_differ_would_show_in_every_endpoint(tmp_path: Path) -> None:
    suite = toy_suite(seeds=list(range(40)))
    shift = [0.0, 0.0, 0.0, 0.0, 0.0, 0.2, 0.2, 0.2, 0.2, 0.2] * 4
    folder = make_folder(tmp_path / "pool", seeds=range(40), suite=suite, noise=1, shift=shift)
    found = endpoint_alarms(rows_of(folder), "lambda_grpo", sizes=(5,))
    alarms = {one.test: one.alarms for one in found}
    for endpoint in ("final", "peak", "auc", "last3"):
        assert alarms[f"verdict on {endpoint} over steps, 5 pairs"] == 4
    assert alarms["verdict on auc over tokens, 5 pairs"] == 4
    assert alarms["tied set of 4 entries: any below, 5 seeds"] == 2
