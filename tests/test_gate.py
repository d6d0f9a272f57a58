"""The gate through its command line, on folders of made-up results: every exit code, every output."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from gate_folders import VERSIONS, make_folder, toy_suite, write_run

from benchmark.__main__ import main
from benchmark.analysis.curves import learning_curves
from benchmark.gate.baseline import read_baseline
from benchmark.gate.decide import decide
from benchmark.gate.evidence import Flip
from benchmark.gate.flow import code_digest, own_proof
from benchmark.gate.judge import Case, Judgement
from benchmark.gate.outputs import as_json, junit, markdown
from benchmark.gate.results import protocol_digest
from benchmark.gate.stops import CODES
from benchmark.jobs.retention import Retention
from benchmark.rows import read_rows, to_frame
from benchmark.stats import t_interval
from benchmark.suite import Suite
from tasks.engines import Dtype
from tasks.errors import UserError, run_cli

Gate = Callable[..., int]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Call the command line in this process and return its exit code."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def call(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["benchmark", "gate", *map(str, words)])
        try:
            return run_cli(main)
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else 99

    return call


@pytest.fixture
def baseline(tmp_path: Path, gate: Gate) -> Path:
    path = tmp_path / "baseline.json"
    folder = make_folder(tmp_path / "base")
    assert gate(folder, "--write-baseline", path, "--reason", "first of all") == 0
    return path


def verdict(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "gate/gate.json").read_text()))


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


MISMATCHES: list[tuple[str, dict[str, Any]]] = [
    ("version of task add2", {"task_version": "2"}),
    ("items and completions of add2", {"n_items": 255}),
    ("items and completions of add2", {"n_asked": 255}),
    ("items and completions of add2", {"n_samples": 4}),
    ("engine is vllm here", {"engine": "vllm"}),
    ("device", {"device": "NVIDIA H100"}),
    ("decoding of add2", {"temperature": 0.7}),
    ("version of lm-eval", {"versions": VERSIONS | {"lm-eval": "0.4.14"}}),
    ("version of math-verify", {"versions": VERSIONS | {"math-verify": "0.9.1"}}),
    ("major.minor of torch", {"versions": VERSIONS | {"torch": "2.14.0+cpu"}}),
    ("major.minor of transformers", {"versions": VERSIONS | {"transformers": "5.20.0"}}),
    ("smoke rows", {"kind": "smoke"}),
]


@pytest.mark.parametrize(("what", "row"), MISMATCHES, ids=[what for what, _ in MISMATCHES])
def test_what_does_not_compare_is_integrity(
    tmp_path: Path, gate: Gate, baseline: Path, what: str, row: dict[str, Any]
) -> None:
    folder = make_folder(tmp_path / "other", shift=-0.1, weights="a", row=row)
    assert gate(folder, "--baseline", baseline) == 6
    headline = verdict(folder)["headline"]
    assert what in headline
    assert "\n" not in headline


def test_an_item_that_was_asked_and_not_judged_still_compares(
    tmp_path: Path, gate: Gate, baseline: Path
) -> None:
    folder = make_folder(tmp_path / "timeout", noise=1, weights="a", row={"n_asked": 256})
    path = folder / "rows.jsonl"
    *lines, last = path.read_text().splitlines()
    once = json.dumps(json.loads(last) | {"n_items": 255, "n_ungraded": 1})
    path.write_text("\n".join([*lines, once, ""]))
    assert gate(folder, "--baseline", baseline) == 0


def test_a_patch_release_of_torch_still_compares(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    row = {"versions": VERSIONS | {"torch": "2.13.1", "sympy": "9"}}
    folder = make_folder(tmp_path / "patch", noise=1, weights="a", row=row)
    assert gate(folder, "--baseline", baseline) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.5, "samples": 1},
        {"recipe": "smollm2"},
        {"splits": ["validation", "test"]},
    ],
)
def test_another_suite_is_integrity(
    tmp_path: Path, gate: Gate, baseline: Path, fields: dict[str, Any]
) -> None:
    folder = make_folder(tmp_path / "asked", suite=toy_suite(**fields), noise=1, weights="a")
    assert gate(folder, "--baseline", baseline) == 6
    assert "digest of what the suite asks for" in verdict(folder)["headline"]


CHANGED: list[tuple[dict[str, Any], str]] = [
    ({"problems_per_step": 8, "task": "add3"}, "setting problems_per_step = 8, the baseline 2"),
    ({"learning_rate": 2e-4}, "setting learning_rate = 0.0002, the baseline 0.0001"),
    ({"replay": "elsewhere"}, "setting replay = 'elsewhere', the baseline not there"),
    ({"warmup_steps": None}, "setting warmup_steps = not there, the baseline 0"),
]


@pytest.mark.parametrize(("config", "what"), CHANGED, ids=[what for _, what in CHANGED])
def test_another_recipe_is_integrity(
    tmp_path: Path, gate: Gate, baseline: Path, config: dict[str, Any], what: str
) -> None:
    folder = make_folder(tmp_path / "recipe", noise=1, weights="a", config=config)
    assert gate(folder, "--baseline", baseline) == 6
    assert what in verdict(folder)["headline"]


def test_a_change_of_a_setting_can_be_what_is_judged(
    tmp_path: Path, gate: Gate, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed: dict[str, Any] = {"learning_rate": 2e-4}
    folder = make_folder(tmp_path / "rate", noise=1, weights="a", config=changed, metrics=changed)
    allow = ("--allow-changed", "learning_rate")
    assert gate(folder, "--baseline", baseline, "--allow-changed", "schedule") == 6
    assert gate(folder, "--baseline", baseline, *allow) == 0
    assert "Setting learning_rate: 0.0002 here, 0.0001 in" in (folder / "gate/gate.md").read_text()
    capsys.readouterr()
    assert gate(folder, "--baseline", baseline, "--allow-changed", "learning_rat") == 2
    assert "did you mean 'learning_rate'?" in capsys.readouterr().err
    assert gate(folder, "--write-baseline", tmp_path / "b.json", "--reason", "a b", *allow) == 2
    assert "a baseline is compared with nothing" in capsys.readouterr().err


def test_settings_that_change_rounding_at_most_are_free(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    config = {"micro_batch": 4, "forward": "padded", "threads": 2, "policy": "/elsewhere"}
    folder = make_folder(tmp_path / "free", noise=1, weights="a", config=config)
    assert gate(folder, "--baseline", baseline) == 0


def test_runs_of_two_recipes_are_no_baseline(tmp_path: Path, gate: Gate) -> None:
    folder = make_folder(tmp_path / "mixed")
    write_run(folder, 7, {}, {"weight_decay": 0.1})
    assert gate(folder, "--write-baseline", tmp_path / "b.json", "--reason", "of two minds") == 6


def test_a_step_of_another_size_breaks_an_invariant(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    folder = make_folder(tmp_path / "four", weights="a", metrics={"completion/mean_length": 3.125})
    assert gate(folder, "--baseline", baseline) == 1
    broken = verdict(folder)["broken"]
    assert (broken["name"], broken["value"], broken["rule"][:2]) == ("completions", 32.0, "8:")


def test_a_changed_default_is_another_protocol() -> None:
    class Lower(Suite):
        dtype: Dtype = "bfloat16"

    suite = toy_suite()
    raw = suite.model_dump(mode="json", exclude_defaults=True)
    assert protocol_digest(Lower.model_validate(raw)) != protocol_digest(suite)
    kept = suite.model_copy(update={"retention": Retention()})
    assert protocol_digest(kept) == protocol_digest(suite)
    spelled = toy_suite(temperature=0.0)
    assert protocol_digest(spelled) == protocol_digest(suite)  # what the task does anyway


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


def test_every_output_says_whose_code_it_was(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    row = {"git_sha": "0123456789abcdef", "git_dirty": True}
    folder = make_folder(tmp_path / "candidate", noise=1, weights="a", row=row)
    assert gate(folder, "--baseline", baseline) == 0
    said = {"candidate": "0123456789ab changed", "baseline": "abc123"}
    assert verdict(folder)["code"] == said
    assert "Code: candidate 0123456789ab changed; baseline abc123." in (folder / "gate/gate.md").read_text()
    suite = ElementTree.parse(folder / "gate/gate.xml").getroot()
    properties = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert properties["code of the candidate"] == said["candidate"]


def test_a_summary_that_cannot_be_written_changes_no_verdict(
    tmp_path: Path,
    gate: Gate,
    baseline: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "none/summary.md"))
    folder = make_folder(tmp_path / "candidate", noise=1, weights="a")
    assert gate(folder, "--baseline", baseline) == 0
    assert "warning: $GITHUB_STEP_SUMMARY" in capsys.readouterr().err


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


def test_outputs_hold_no_control_characters_and_60_lines() -> None:
    told = "vLLM said\n\x1b[31mboom\x00\ud800\ufffe and stopped\u2028"
    case = Case(endpoint="auc", task="a\x07b", difference=t_interval([0.1, 0.2]), mde=None, judged=False)
    shown = Judgement(
        outcome="fail",
        caught_by="learning",
        decision=decide([-0.05, -0.06, -0.055, -0.045]),
        headline=told,
        pairs=2,
        seeds=[0, 1],
        cases=[case] * 40,
        steps=[0, 1],
        curves={"candidate": [0.0, 1.0], "baseline": [0.0, 1.0]},
        settings={f"k{number}": ("a\nb\nc" * 40, None) for number in range(20)},
        flips=[Flip(item="i\nj", candidate=0.0, baseline=1.0)] * 10,
        drift=0.1,
        tokens=1.0,
    )
    for judgement in (shown, Judgement(outcome="infrastructure", headline=told)):
        root = ElementTree.fromstring(junit("toy", judgement).partition("\n")[2])
        text = markdown("toy", judgement)
        assert text.splitlines()[2] == "vLLM said [31mboom and stopped"
        assert len(text.splitlines()) <= 60
        assert all(line.isprintable() for line in text.splitlines())
        assert as_json("toy", judgement)["headline"] == "vLLM said [31mboom and stopped"
        if judgement is not shown:
            error = root.find("testsuite/testcase/error")
            assert error is not None
            assert error.get("message") == "vLLM said [31mboom and stopped"


def test_no_page_of_the_documentation_has_a_place_to_be_filled() -> None:
    for page in (Path(__file__).parent.parent / "docs").glob("*.md"):
        assert "@@" not in page.read_text(encoding="utf-8"), page.name


def test_what_changes_no_number_is_no_other_suite(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    arm = {"lambda_grpo": {"summary": "another trainer", "command": ["true"]}}
    suite = toy_suite(summary="in other words", arm=arm, max_sequences=8)
    folder = make_folder(tmp_path / "same", suite=suite, noise=1, weights="a")
    assert gate(folder, "--baseline", baseline) == 0


def test_a_run_under_two_seeds_is_integrity(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    folder = make_folder(tmp_path / "twice", noise=1, weights="a")
    text = (folder / "rows.jsonl").read_text()
    (folder / "rows.jsonl").write_text(text.replace("a5_", "a4_"))
    assert gate(folder, "--baseline", baseline) == 6
    assert "seeds 4 and 5 end in the same weights" in verdict(folder)["headline"]


def test_a_run_of_another_seed_is_integrity(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    folder = make_folder(tmp_path / "swapped", noise=1, weights="a")
    runs = folder / "runs/lambda_grpo"
    shutil.copy(runs / "seed_4/config.json", runs / "seed_5/config.json")
    assert gate(folder, "--baseline", baseline) == 6
    assert "was trained with seed 4, not 5" in verdict(folder)["headline"]


def test_a_trainer_that_changes_nothing_is_a_regression_and_no_reused_seed(
    tmp_path: Path, gate: Gate, baseline: Path
) -> None:
    shift = [-gain for gain in (0.19, 0.2, 0.21, 0.2, 0.2, 0.19, 0.2, 0.2, 0.2, 0.2)]
    folder = make_folder(tmp_path / "still", shift=shift, row={"weights_hash": "base"})
    assert gate(folder, "--baseline", baseline) == 1
    assert verdict(folder)["caught_by"] == "learning"


def test_another_start_is_integrity(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    folder = make_folder(tmp_path / "start", noise=1, weights="a")
    text = (folder / "rows.jsonl").read_text()
    (folder / "rows.jsonl").write_text(text.replace('"weights_hash": "base"', '"weights_hash": "elsewhere"'))
    assert gate(folder, "--baseline", baseline) == 6
    assert "start of seed 0" in verdict(folder)["headline"]


def test_holes_and_damage_are_integrity(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    def damaged(name: str, file: str, change: Callable[[str], str | None]) -> str:
        folder = make_folder(tmp_path / name, noise=1, weights="a")
        path = folder / file
        text = change(path.read_text())
        path.unlink() if text is None else path.write_text(text)
        assert gate(folder, "--baseline", baseline) == 6
        return str(verdict(folder)["headline"])

    run = "runs/lambda_grpo/seed_3"
    lost = damaged("hole", "rows.jsonl", lambda text: "\n".join(text.split("\n")[:-2]) + "\n")
    assert "no row of seed 9, step 16, add2 validation" in lost
    assert "rows.jsonl:1: not a result row" in damaged("torn", "rows.jsonl", lambda text: "{}\n" + text)
    assert "metrics.jsonl: missing or damaged" in damaged("log", f"{run}/metrics.jsonl", lambda text: None)
    assert "metrics.jsonl: a line is no JSON object" in damaged(
        "list", f"{run}/metrics.jsonl", lambda text: "[]\n"
    )
    assert "config.json: missing or damaged" in damaged("config", f"{run}/config.json", lambda text: "[]")
    mixed = damaged("mixed", "rows.jsonl", lambda text: text.replace('"transformers"', '"vllm"', 1))
    assert "column 'engine'" in mixed


def test_an_unmeasured_value_is_too_little(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    folder = make_folder(tmp_path / "null", noise=1, weights="a", row={"value": None, "missing": "no set"})
    assert gate(folder, "--baseline", baseline) == 5
    assert "has no value (no set)" in verdict(folder)["headline"]


def test_bad_baselines(
    tmp_path: Path, gate: Gate, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path / "candidate", noise=1, weights="a")
    assert gate(folder, "--baseline", tmp_path / "none.json") == 2
    assert "no such baseline; write one with" in capsys.readouterr().err
    whole = baseline.read_text()
    changes = {
        "half": whole[: len(whole) // 2],
        "edited": whole.replace("0.4,", "0.3,", 1),
        "undigested": whole.replace('"digest"', '"digested"'),
        "list": "[]",
    }
    for name, text in changes.items():
        path = tmp_path / f"{name}.json"
        path.write_text(text)
        assert gate(folder, "--baseline", path) == 6, name
        assert str(path) in verdict(folder)["headline"]


def test_a_baseline_of_another_plan_is_integrity(
    tmp_path: Path, gate: Gate, baseline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path / "candidate", noise=1, weights="a")
    monkeypatch.setattr("benchmark.gate.baseline.PLAN", {"margin": 0.05})
    assert gate(folder, "--baseline", baseline) == 6
    assert "made for another plan (margin)" in verdict(folder)["headline"]


def test_rotating_keeps_the_record_and_the_original(
    tmp_path: Path, gate: Gate, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = read_baseline(baseline)
    second = make_folder(tmp_path / "second", shift=-0.02, noise=1, weights="b")
    assert gate(second, "--write-baseline", baseline) == 2
    assert "--reason ''" in capsys.readouterr().err
    assert read_baseline(baseline) == first
    assert gate(second, "--write-baseline", baseline, "--reason", "slower on purpose") == 0
    third = make_folder(tmp_path / "third", shift=-0.04, noise=2, weights="c")
    assert gate(third, "--write-baseline", baseline, "--reason", "slower again") == 0
    rotated = read_baseline(baseline)
    assert rotated.original == first.results
    assert [past.reason for past in rotated.history] == ["first of all", "slower on purpose"]
    assert rotated.history[0].sha256 == first.content()
    assert len(rotated.history[0].auc) == len(rotated.history[0].seeds) == 10
    candidate = make_folder(tmp_path / "candidate", shift=-0.04, noise=3, weights="d")
    assert gate(candidate, "--baseline", baseline) == 0
    assert verdict(candidate)["drift"] == pytest.approx(-0.035, abs=0.012)
    assert "Against the original baseline: -" in (candidate / "gate/gate.md").read_text()


def test_no_baseline_from_too_few_sick_or_copied_runs(tmp_path: Path, gate: Gate) -> None:
    path = tmp_path / "new.json"
    words = ("--write-baseline", path, "--reason", "to see it refused")
    assert gate(make_folder(tmp_path / "few", seeds=range(9)), *words) == 5
    assert gate(make_folder(tmp_path / "sick", metrics={"kl": -0.1}), *words) == 6
    copied = make_folder(tmp_path / "copied")
    rows = copied / "rows.jsonl"
    rows.write_text(rows.read_text().replace('"5_16"', '"4_16"'))
    assert gate(copied, *words) == 6
    assert not path.exists()
    path.write_text("{")
    assert gate(make_folder(tmp_path / "good"), *words) == 6
    assert path.read_text() == "{"


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


def test_the_outputs(tmp_path: Path, gate: Gate, baseline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder(tmp_path / "worse", shift=-0.1, noise=1, weights="a", metrics={"loss": 0.06})
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert gate(folder, "--baseline", baseline, "--out", tmp_path / "verdict") == 1
    text = (tmp_path / "verdict/gate.md").read_text()
    assert len(text.splitlines()) <= 60
    assert summary.read_text() == "before\n" + text + "\n"
    for part in (
        "## gate FAIL: toy",
        "Caught by: learning.",
        "| auc of add2 (judged) | -",
        "the margin is 3 points",
        "First divergent step: 1 of seed 0, `loss` 0.06 here, 0.05 in the baseline.",
        "Seeds: 0, 1, 2, 3.",
        "Flipped items: not known",
        "█",
    ):
        assert part in text


def test_junit_of_every_outcome(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    folders = {
        "pass": make_folder(tmp_path / "a", noise=1, weights="a"),
        "fail": make_folder(tmp_path / "b", shift=-0.1, noise=1, weights="b"),
        "inconclusive": make_folder(tmp_path / "c", shift=-0.01, weights="c"),
        "integrity": make_folder(tmp_path / "d", row={"device": "other"}),
        "too little": make_folder(tmp_path / "e", seeds=range(2)),
        "sick": make_folder(tmp_path / "f", metrics={"kl": -1.0}),
    }
    marks = {
        "pass": [],
        "fail": [("auc of add2", "failure")],
        "inconclusive": [("auc of add2", "skipped")],
        "integrity": [("integrity", "error")],
        "too little": [("integrity", "error")],
        "sick": [("health of training", "failure")],
    }
    for outcome, folder in folders.items():
        gate(folder, "--baseline", baseline)
        suite = ElementTree.parse(folder / "gate/gate.xml").getroot().find("testsuite")
        assert suite is not None
        cases = suite.findall("testcase")
        found = [
            (case.get("name"), mark)
            for case in cases
            for mark in ("failure", "skipped", "error")
            if case.find(mark) is not None
        ]
        assert found == marks[outcome], outcome
        assert suite.get("tests") == str(len(cases))
        for name, mark in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert suite.get(name) == str(sum(kind == mark for _, kind in found))
        assert all(case.get("classname") == "gate.toy" and case.get("time") for case in cases)
    suite = ElementTree.parse(folders["fail"] / "gate/gate.xml").getroot()
    properties = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert {"effect", "low_95", "high_95", "mde", "n", "p_worse", "threshold"} <= properties.keys()


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


def test_a_suite_without_a_test_split_claims_nothing(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "gate_alone")
    with pytest.raises(UserError, match="no test rows, so there is nothing to claim"):
        learning_curves(to_frame(read_rows(folder / "rows.jsonl")))
