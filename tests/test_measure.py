"""A unit of samples to rows: the same votes as lm-eval counts, whatever kind of answer."""

from __future__ import annotations

from pathlib import Path

from benchmark.measure import measure
from benchmark.store import Sample, open_store, sample_key
from tasks.engines import Finish
from tasks.schema import Problem
from tests.stored import write_samples


def test_wrong_choices_vote_as_letters(tmp_path: Path) -> None:
    said = ["\\boxed{C}", "\\boxed{A}", "\\boxed{(A)}", "\\boxed{A. dog}"]
    samples = [
        Sample(item="x/0", index=at, text=text, tokens=1, finish=Finish.STOP, seed=at, prompt_hash="")
        for at, text in enumerate(said)
    ]
    request = {"task": "x", "engine": "e"}
    write_samples(tmp_path, request, {"engine": "e", "device": "d", "seconds": 0.0}, samples)
    unit = open_store(tmp_path).read(sample_key(request))
    rows, _ = measure(unit, [Problem(id="x/0", question="?", gold="C")], "choice", 4)
    assert {row["metric"]: row["value"] for row in rows}["maj@4"] == 0.0
