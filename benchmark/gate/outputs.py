"""A judgement as JUnit XML, as Markdown for a person and as JSON for a machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

from benchmark.gate.decide import MARGIN
from benchmark.gate.judge import Case, Judgement
from benchmark.gate.stops import CODES
from tasks.files import write_json, write_text

BARS = "▁▂▃▄▅▆▇█"
SHOWN_CASES, SHOWN_SETTINGS = 20, 6
"""With these and `SHOWN_FLIPS` the Markdown has at most 60 lines."""
ERRORS = ("integrity", "infrastructure", "too little")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
"""What breaks a line, a terminal or XML 1.0."""


def write_outputs(out: Path, name: str, judgement: Judgement) -> list[Path]:
    """Write gate.xml, gate.md and gate.json into OUT.

    Returns:
        The three files.
    """
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / "gate.xml", out / "gate.md", out / "gate.json"]
    text = markdown(name, judgement)
    write_text(paths[0], junit(name, judgement))
    write_text(paths[1], text)
    write_json(paths[2], as_json(name, judgement))
    return paths


def one_line(text: str) -> str:
    """Return text without line breaks, control characters and what XML cannot hold.

    >>> one_line("vLLM said\\n\\x1b[31mboom")
    'vLLM said [31mboom'
    """
    return " ".join(CONTROL.sub(" ", text).split())


def as_json(name: str, judgement: Judgement) -> dict[str, Any]:
    """Return everything, missing numbers as null."""
    return {
        "suite": name,
        "exit_code": CODES.get(judgement.outcome),
        "margin": MARGIN,
        **json.loads(json.dumps(asdict(judgement))),
        "headline": one_line(judgement.headline),
    }


def junit(name: str, judgement: Judgement) -> str:
    """Return JUnit XML: one case for integrity, one for health, one for every endpoint and task.

    A failure is a regression, skipped is inconclusive, an error is integrity or infrastructure.
    """
    cases = list(_cases(name, judgement))
    counts = {
        kind: sum(case.find(kind) is not None for case in cases) for kind in ("failure", "error", "skipped")
    }
    names = {"failure": "failures", "error": "errors", "skipped": "skipped"}
    attributes = {"name": f"gate.{name}", "tests": str(len(cases))}
    attributes |= {names[kind]: str(number) for kind, number in counts.items()}
    root = xml.Element("testsuites")
    suite = xml.SubElement(root, "testsuite", attributes | {"time": "0"})
    suite.extend(cases)
    xml.indent(root)
    return "<?xml version='1.0' encoding='utf-8'?>\n" + xml.tostring(root, encoding="unicode") + "\n"


def _cases(name: str, judgement: Judgement) -> Iterator[xml.Element]:
    def case(title: str, properties: dict[str, Any], mark: str = "", message: str = "") -> xml.Element:
        element = xml.Element("testcase", {"classname": f"gate.{name}", "name": one_line(title), "time": "0"})
        if properties:
            listed = xml.SubElement(element, "properties")
            for key, value in properties.items():
                text = "" if value is None else one_line(f"{value}")
                xml.SubElement(listed, "property", {"name": key, "value": text})
        if mark:
            xml.SubElement(element, mark, {"message": message}).text = message
        return element

    outcome, told = judgement.outcome, one_line(judgement.headline)
    code = {f"code of the {whose}": sha for whose, sha in judgement.code.items()}
    yield case("integrity", code, "error" if outcome in ERRORS else "", told)
    if outcome in ERRORS:
        return
    sick = judgement.caught_by in ("health", "trainer")
    yield case("health of training", {}, "failure" if sick else "", told)
    marks = {"fail": "failure", "inconclusive": "skipped"}
    for one in judgement.cases:
        mark = marks.get(outcome, "") if one.judged and not sick else ""
        yield case(f"{one.endpoint} of {one.task}", _numbers(one, judgement), mark, told)


def _numbers(case: Case, judgement: Judgement) -> dict[str, Any]:
    found: dict[str, Any] = {
        "judged": case.judged,
        "effect": case.difference.mean,
        "low_95": case.difference.low,
        "high_95": case.difference.high,
        "mde": case.mde,
        "n": case.difference.n,
        "margin": MARGIN,
    }
    if case.judged and judgement.decision:
        decision = judgement.decision
        found |= {
            "p_worse": decision.p_worse,
            "p_acceptable": decision.p_acceptable,
            "threshold": decision.threshold,
        }
    return found


def markdown(name: str, judgement: Judgement) -> str:
    """Return at most 60 lines: the verdict first, then what it rests on."""
    lines = [f"## gate {judgement.outcome.upper()}: {name}", "", one_line(judgement.headline), ""]
    if judgement.caught_by:
        lines += [f"Caught by: {judgement.caught_by}.", ""]
    if judgement.pairs:
        lines += [*_table(judgement), "", *_curves(judgement), "", *_details(judgement)]
    return "\n".join(CONTROL.sub(" ", line) for line in lines).rstrip() + "\n"


def _table(judgement: Judgement) -> list[str]:
    """Points are hundredths of the metric."""
    lines = [
        "| endpoint | effect, points | 95 % interval | p worse | p loss >= margin | MDE | n |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    decision = judgement.decision
    shown = judgement.cases[:SHOWN_CASES]
    for case in shown:
        ps = [decision.p_worse, decision.p_acceptable] if case.judged and decision else [None, None]
        cells = [
            f"{case.endpoint} of {case.task}" + (" (judged)" if case.judged else ""),
            f"{100 * case.difference.mean:+.2f}",
            _interval(case),
            *(_plain(p, ".2g") for p in ps),
            _plain(None if case.mde is None else 100 * case.mde, ".2f"),
            str(case.difference.n),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    if decision and decision.low is not None and decision.high is not None:
        lines += [
            "",
            f"Look at {decision.n} pairs, threshold {decision.threshold:g}: "
            f"[{100 * decision.low:+.2f}, {100 * decision.high:+.2f}] at {decision.level:.1%}; "
            f"the margin is {100 * MARGIN:g} points.",
        ]
    return lines


def _interval(case: Case) -> str:
    low, high = case.difference.low, case.difference.high
    return "none" if low is None or high is None else f"[{100 * low:+.2f}, {100 * high:+.2f}]"


def _plain(value: float | None, style: str) -> str:
    return "–" if value is None else format(value, style)


def _curves(judgement: Judgement) -> list[str]:
    values = [value for curve in judgement.curves.values() for value in curve]
    low, high = min(values), max(values)
    return [
        f"`{sparkline(curve, low, high)}` {whose}, {100 * curve[0]:.1f} % to {100 * curve[-1]:.1f} % "
        f"at step {judgement.steps[-1]}  "
        for whose, curve in judgement.curves.items()
    ]


def sparkline(values: list[float], low: float, high: float) -> str:
    """Draw values as bars between two heights.

    >>> sparkline([0.0, 0.5, 1.0], 0.0, 1.0)
    '▁▅█'
    >>> sparkline([0.5, 0.5], 0.5, 0.5)
    '▁▁'
    """
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[int((value - low) * scale + 0.5)] for value in values)


def _details(judgement: Judgement) -> list[str]:
    lines = [f"Seeds: {', '.join(map(str, judgement.seeds))}.", _divergence(judgement)]
    lines.append("Code: " + "; ".join(f"{whose} {sha}" for whose, sha in judgement.code.items()) + ".")
    if judgement.tokens is not None:
        lines.append(f"Training tokens: {judgement.tokens:.3f} of the baseline's.")
    for key, (ours, theirs) in list(judgement.settings.items())[:SHOWN_SETTINGS]:
        lines.append(f"Setting {key}: {one_line(str(ours))} here, {one_line(str(theirs))} in the baseline.")
    if judgement.drift is not None:
        lines.append(f"Against the original baseline: {100 * judgement.drift:+.2f} points.")
    if judgement.flips is None:
        return [*lines, "Flipped items: not known, one of the two has no texts."]
    if not judgement.flips:
        return [*lines, "Flipped items: none."]
    lines += ["", "| flipped most | here | baseline |", "|---|---:|---:|"]
    return lines + [
        f"| {flip.item} | {flip.candidate:.2f} | {flip.baseline:.2f} |" for flip in judgement.flips
    ]


def _divergence(judgement: Judgement) -> str:
    found = judgement.divergence
    if found is None:
        return "First divergent step: none, the logs are equal."
    values = f"{_plain(found.candidate, '.6g')} here, {_plain(found.baseline, '.6g')} in the baseline"
    same = f"; {found.identical} seeds never differ" if found.identical else ""
    return f"First divergent step: {found.step} of seed {found.seed}, `{found.name}` {values}{same}."
