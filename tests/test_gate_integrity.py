"""The gate compares like with like or says what differs: settings, suites, runs, seeds, holes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gate_folders import VERSIONS, Gate, make_folder, toy_suite, verdict

from benchmark.gate.results import protocol_digest
from benchmark.jobs.retention import Retention
from benchmark.suite import Suite
from tasks.engines import Dtype

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


def test_what_changes_no_number_is_no_other_suite(tmp_path: Path, gate: Gate, baseline: Path) -> None:
    arm = {"lambda_grpo": {"summary": "another trainer", "command": ["true"]}}
    suite = toy_suite(summary="in other words", arm=arm, max_sequences=8)
    folder = make_folder(tmp_path / "same", suite=suite, noise=1, weights="a")
    assert gate(folder, "--baseline", baseline) == 0


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("a5_", "a4_", "seeds 4 and 5 end in the same weights"),
        ('"weights_hash": "base"', '"weights_hash": "elsewhere"', "start of seed 0"),
    ],
)
def test_weights_of_another_seed_or_start_are_integrity(
    tmp_path: Path, gate: Gate, baseline: Path, old: str, new: str, told: str
) -> None:
    folder = make_folder(tmp_path / "candidate", noise=1, weights="a")
    text = (folder / "rows.jsonl").read_text()
    (folder / "rows.jsonl").write_text(text.replace(old, new))
    assert gate(folder, "--baseline", baseline) == 6
    assert told in verdict(folder)["headline"]


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
