"""The gate around a trainer that proves a fault itself, crashes or stops."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from gate_folders import Gate, make_folder, toy_suite, verdict

from benchmark.gate.flow import code_digest, own_proof


def test_the_digest_of_the_code_covers_data_packages_and_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.gate.flow.ROOT", tmp_path)
    for name in ("tasks/sets/one.jsonl", "trainer/policies/w.safetensors", "benchmark/a.yaml"):
        before = code_digest()
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text("1")
        assert code_digest() != before, name
        before = code_digest()
        path.write_text("2")
        assert code_digest() != before, name
    before = code_digest()
    (tmp_path / "tasks/__pycache__").mkdir()
    (tmp_path / "tasks/__pycache__/a.pyc").write_text("1")
    assert code_digest() == before
    monkeypatch.setattr("benchmark.gate.flow.package_versions", lambda: {"torch": "9"})
    assert code_digest() != before
    before = code_digest()
    monkeypatch.setattr("benchmark.gate.flow.machine", lambda: {"processor": "another"})
    assert code_digest() != before


@pytest.mark.parametrize("name", ["benchmark.gate.flow.gate_folder", "benchmark.gate.outputs.write_outputs"])
def test_a_fault_of_the_gates_own_is_infrastructure(
    tmp_path: Path, gate: Gate, baseline: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by nothing")

    folder = make_folder(tmp_path / "candidate", noise=1, weights="a")
    monkeypatch.setattr(name, broken)
    assert gate(folder, "--baseline", baseline) == 7
    if "flow" in name:
        assert "ZeroDivisionError: by nothing" in verdict(folder)["headline"]


def test_a_trainers_own_proof_is_a_regression_and_a_crash_is_not(tmp_path: Path) -> None:
    suite = toy_suite()
    folder = make_folder(tmp_path / "stopped")
    path = folder / "runs/lambda_grpo/seed_1/manifest.json"
    for state, reason, caught in (
        ("failed", "WeightMismatch: engine 'x' is 0.5 nats off", True),
        ("failed", "FloatingPointError: loss nan and gradient norm nan: the step was not taken", True),
        ("failed", "OutOfMemoryError: CUDA out of memory", False),
        ("stopped", "interrupted", False),
        ("running", "WeightMismatch: of an attempt before this one", False),
        ("done", "", False),
    ):
        path.write_text(json.dumps({"state": state, "reason": reason}))
        proof = own_proof(suite, folder, [0, 1])
        assert (proof is not None) == caught
        assert own_proof(suite, folder, [0]) is None
        if proof is not None:
            assert (proof.outcome, proof.caught_by) == ("fail", "trainer")
            assert reason in proof.headline


def stub_suite(folder: Path, code: str, baseline: Path) -> list[str]:
    """A suite whose trainer is a line of Python, and the command that gates it."""
    command = json.dumps([sys.executable, "-c", code, "{out}"])
    path = folder / "toy.toml"
    path.write_text(
        'summary = "x"\nrecipe = "embedded"\narms = ["lambda_grpo"]\nbaseline = "lambda_grpo"\n'
        'seeds = [0, 1, 2, 3]\ntasks = ["add2"]\nsplits = ["validation"]\nengine = "transformers"\n'
        f'[arm.lambda_grpo]\nsummary = "stub"\ncommand = {command}\n'
    )
    words = ["gate", str(path), "--baseline", str(baseline), "--out", str(folder / "out"), "--jobs", "1"]
    return [sys.executable, "-m", "benchmark", *words]


def test_a_crash_of_the_trainer_is_infrastructure(tmp_path: Path, baseline: Path) -> None:
    command = stub_suite(tmp_path, "raise MemoryError('gone')", baseline)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert "gate INFRASTRUCTURE" in done.stdout
    suite = ElementTree.parse(tmp_path / "out/gate.xml").getroot().find("testsuite")
    assert suite is not None
    assert suite.get("errors") == "1"


def test_a_trainer_that_stops_itself_fails_the_gate_after_one_run(tmp_path: Path, baseline: Path) -> None:
    code = (
        "import json, pathlib, sys; out = pathlib.Path(sys.argv[1]); out.mkdir(parents=True); "
        "record = dict(state='failed', reason='WeightMismatch: stale'); "
        "(out / 'manifest.json').write_text(json.dumps(record)); sys.exit(1)"
    )
    command = stub_suite(tmp_path, code, baseline)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Caught by: trainer" in done.stdout
    assert len(list((tmp_path / "out/results/runs/lambda_grpo").iterdir())) == 1
    record = tmp_path / "out/gate_code.json"
    record.write_text(record.read_text().replace('"code": "', '"code": "0'))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "holds runs of other code" in done.stderr
