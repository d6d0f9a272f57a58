"""What the plan counts before a run: texts that are there are not asked for again."""

from __future__ import annotations

from pathlib import Path

from benchmark.jobs.plan import Outlook, amounts, table
from benchmark.store import open_store
from tests.toy import ENGINE, RIGHT, SIZE, make_suite, write_suite, write_texts


def test_texts_that_are_there_are_counted(tmp_path: Path) -> None:
    out, outlook = write_suite(tmp_path), Outlook((), 2, 4)
    found = amounts(make_suite(), out, open_store(out), ENGINE, outlook, 1)
    completions = len(RIGHT) * sum(SIZE.values())
    assert (found.units.total, found.units.done) == (2 * len(RIGHT), 2 * len(RIGHT))
    assert (found.completions.total, found.completions.done) == (completions, completions)
    assert "texts are all there" in table(found)


def test_more_samples_are_counted_as_missing_ones(tmp_path: Path) -> None:
    out, outlook = write_suite(tmp_path), Outlook((), 2, 4)
    write_texts(make_suite(samples=2, temperature=0.5), out, RIGHT)
    found = amounts(make_suite(samples=6, temperature=0.5), out, open_store(out), ENGINE, outlook, 1)
    there = 2 * len(RIGHT) * sum(SIZE.values())
    assert (found.completions.total, found.completions.done) == (3 * there, there)
    assert found.units.done == 0
    assert "(as fast as the blocks there)" in table(found)


def test_texts_of_another_decoding_do_not_count(tmp_path: Path) -> None:
    out, outlook = write_suite(tmp_path), Outlook((), 2, 4)
    found = amounts(make_suite(temperature=0.7), out, open_store(out), ENGINE, outlook, 1)
    assert found.completions.done == 0
