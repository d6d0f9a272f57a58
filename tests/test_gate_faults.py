"""A fault planted in the trainer, found by the gate through the real command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gate_proof import BASELINE, run_gate
from planted_faults import FAULTS

from benchmark.gate.baseline import read_baseline
from benchmark.gate.integrity import check_integrity
from benchmark.gate.results import protocol_digest
from benchmark.suite import load_suite


def test_the_committed_baseline_is_that_of_the_shipped_suite() -> None:
    baseline = read_baseline(BASELINE)
    assert baseline.results.protocol == protocol_digest(load_suite("gate"))
    assert [run.seed for run in baseline.results.runs] == load_suite("gate").seeds
    check_integrity(baseline.results, baseline.results)


def test_every_fault_of_the_issue_is_planted() -> None:
    asked = {
        "advantage_sign",
        "lambda_inverted",
        "learning_rate_tenth",
        "learning_rate_tenfold",
        "eos_dropped",
    }
    asked |= {"eos_dropped", "kl_sign", "rewards_shuffled", "padding_mask_dropped", "stale_rollouts"}
    assert asked <= FAULTS.keys()


@pytest.mark.slow
def test_a_planted_fault_fails_the_gate_after_one_run(tmp_path: Path) -> None:
    found = run_gate("lambda_inverted", tmp_path, BASELINE, "1")
    assert (found["exit_code"], found["caught_by"]) == (1, "health")
    assert found["broken"]["name"] == "check/loss"
    runs = list((tmp_path / "lambda_inverted/results/runs/lambda_grpo").iterdir())
    assert [run.name for run in runs] == ["seed_0"]
    assert json.loads((runs[0] / "manifest.json").read_text())["state"] == "done"
