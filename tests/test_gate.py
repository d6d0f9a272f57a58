"""The gate through its command line, on folders of made-up results: pass, fail, and what decides nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from gate_folders import Gate, make_folder, toy_suite, verdict, write_run

from benchmark.analysis.curves import learning_curves
from benchmark.gate.stops import CODES
from benchmark.rows import read_rows, to_frame
from tasks.errors import UserError


def test_pass_fail_and_inconclusive(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    cases: list[tuple[str, float, float, int]] = [
        ("same_level", 0.0, 0.005, 0),
        ("better", 0.1, 0.005, 0),
        ("worse", -0.1, 0.005, 1),
        ("noisy", -0.03, 0.08, 3),
    ]
    for name, shift, noise_sd, code in cases:
        folder = make_folder(tmp_path / name, shift=shift, noise=1, noise_sd=noise_sd, weights=name)
        assert gate(folder, "--baseline", baseline) == code, name
        found = verdict(folder)
        assert (found["exit_code"], CODES[found["outcome"]]) == (code, code)
        assert found["decision"]["n"] == found["pairs"] == len(found["seeds"])
    assert verdict(tmp_path / "worse")["caught_by"] == "learning"
    assert verdict(tmp_path / "worse")["pairs"] == 4
    assert verdict(tmp_path / "noisy")["pairs"] == 10


def test_identical_weights_pass_and_say_so(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    folder = make_folder(tmp_path / "again")
    (tmp_path / "again.toml").write_text("")  # beside a folder of that name: the folder is meant
    assert gate(folder, "--baseline", baseline) == 0
    assert verdict(folder)["headline"].startswith("identical to the baseline")
    assert verdict(folder)["decision"] is None


def test_zero_variance_without_equal_weights_is_inconclusive(
    tmp_path: Path, gate: Gate, baseline: Path
) -> None:
    folder = make_folder(tmp_path / "lower", shift=-0.05, weights="others")
    assert gate(folder, "--baseline", baseline) == 3
    assert "no spread" in verdict(folder)["headline"]
    flat = make_folder(tmp_path / "flat", row={"value": 0.5})
    still = tmp_path / "flat.json"
    assert gate(flat, "--write-baseline", still, "--reason", "never learns") == 0
    folder = make_folder(tmp_path / "equal", weights="others", row={"value": 0.5})
    assert gate(folder, "--baseline", still) == 3


def test_equal_answers_with_other_weights_pass(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    folder = make_folder(tmp_path / "rounded", weights="others")
    assert gate(folder, "--baseline", baseline) == 0
    assert verdict(folder)["headline"].startswith("the answers are the baseline's")
    shift = [0.0] * 9 + [0.001]
    folder = make_folder(tmp_path / "nearly", weights="more", shift=shift)
    assert gate(folder, "--baseline", baseline) == 0
    assert verdict(folder)["headline"].startswith("a loss of 0.03 or more is rejected")


def test_fewer_pairs_than_decide_are_inconclusive_and_fewer_than_a_look_too_little(
    tmp_path: Path, gate: Gate, baseline: Path
) -> None:
    shift = [0.0, -0.03, 0.02, -0.05, 0.01, -0.04]
    folder = make_folder(tmp_path / "six", shift=shift, seeds=range(6), weights="a")
    assert gate(folder, "--baseline", baseline) == 3
    assert verdict(folder)["pairs"] == 6
    folder = make_folder(tmp_path / "three", seeds=range(3))
    assert gate(folder, "--baseline", baseline) == 5
    assert "3 seeds in common" in verdict(folder)["headline"]
    (folder / "rows.jsonl").unlink()
    assert gate(folder, "--baseline", baseline) == 5
    (folder / "rows.jsonl").write_text("")
    assert gate(folder, "--baseline", baseline) == 5


def test_pairs_are_matched_by_seed_and_not_by_order(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    suite = toy_suite(seeds=[9, 3, 5, 1, 7, 0])
    folder = make_folder(
        tmp_path / "mixed", seeds=[9, 3, 5, 1, 7, 0], suite=suite, noise=2, noise_sd=0.001, weights="a"
    )
    assert gate(folder, "--baseline", baseline) == 0
    assert verdict(folder)["seeds"] == [0, 1, 3, 5]
    assert abs(verdict(folder)["decision"]["effect"]) < 0.002


def test_a_broken_invariant_fails_with_name_step_and_value(
    tmp_path: Path, gate: Gate, baseline: Path
) -> None:
    folder = make_folder(tmp_path / "sick", shift=0.1, weights="a")
    write_run(folder, 2, {"check/loss": 0.25})
    assert gate(folder, "--baseline", baseline) == 1
    found = verdict(folder)
    assert found["caught_by"] == "health"
    assert found["broken"] == {
        "name": "check/loss",
        "seed": 2,
        "step": 1,
        "value": 0.25,
        "rule": "<= 1e-05",
    }
    assert "check/loss at step 1 of seed 2 is 0.25" in found["headline"]


def test_a_check_that_the_baseline_logs_has_to_be_logged(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    folder = make_folder(tmp_path / "silent", weights="a")
    path = folder / "runs/lambda_grpo/seed_0/metrics.jsonl"
    path.write_text(path.read_text().replace('"check/loss"', '"check/lost"'))
    assert gate(folder, "--baseline", baseline) == 1
    assert verdict(folder)["broken"]["name"] == "check/loss"


def test_a_step_of_another_size_breaks_an_invariant(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    folder = make_folder(tmp_path / "four", weights="a", metrics={"completion/mean_length": 3.125})
    assert gate(folder, "--baseline", baseline) == 1
    broken = verdict(folder)["broken"]
    assert (broken["name"], broken["value"], broken["rule"][:2]) == ("completions", 32.0, "8:")


def test_no_page_of_the_documentation_has_a_place_to_be_filled() -> None:
    for page in (Path(__file__).parent.parent / "docs").glob("*.md"):
        assert "@@" not in page.read_text(encoding="utf-8"), page.name


def test_usage_errors(tmp_path: Path, gate: Gate, baseline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path / "candidate")
    told = {
        (folder, "--baseline", baseline, "--set", "seeds=[1]"): "is a results folder",
        ("gaet", "--baseline", baseline): "did you mean 'gate'?",
        ("embedded", "--baseline", baseline, "--out", tmp_path / "e"): "the gate judges one",
        (tmp_path, "--baseline", baseline): "suite.json: missing or damaged",
        (folder, "--baseline", baseline, "--write-baseline", baseline): "not allowed with argument",
    }
    for words, message in told.items():
        assert gate(*words) == 2
        assert message in capsys.readouterr().err
    suite = toy_suite(endpoints={"margin": 0.05})
    assert gate(make_folder(tmp_path / "margin", suite=suite), "--baseline", baseline) == 2
    assert "the gate's plan is auc over steps" in capsys.readouterr().err


def test_a_suite_without_a_test_split_claims_nothing(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "gate_alone")
    with pytest.raises(UserError, match="no test rows, so there is nothing to claim"):
        learning_curves(to_frame(read_rows(folder / "rows.jsonl")))
