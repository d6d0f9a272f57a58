"""Baselines of the gate: written, rotated with a reason, refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from gate_folders import Gate, make_folder, verdict, write_run

from benchmark.gate.baseline import read_baseline


def test_runs_of_two_recipes_are_no_baseline(tmp_path: Path, gate: Gate) -> None:
    folder = make_folder(tmp_path / "mixed")
    write_run(folder, 7, {}, {"weight_decay": 0.1})
    assert gate(folder, "--write-baseline", tmp_path / "b.json", "--reason", "of two minds") == 6


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
