"""What the gate writes: JSON, Markdown, JUnit, whose code it was; safe for terminals and summaries."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from gate_folders import Gate, make_folder, verdict

from benchmark.gate.decide import decide
from benchmark.gate.evidence import Flip
from benchmark.gate.judge import Case, Judgement
from benchmark.gate.outputs import as_json, junit, markdown
from benchmark.stats import t_interval


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
