"""Some texts of an entry again, from its checkpoints: do the models say what the entry says they say?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.board.opened import Opened
from benchmark.board.reading import LIMITS, Fault, read_bytes
from benchmark.board.records import Reevaluated
from benchmark.board.schedule import entry_endpoints
from benchmark.board.texts import texts_file, unpack_texts
from benchmark.rows import ResultRow
from benchmark.stats import equivalence_p, paired_t_p
from benchmark.store import Sample
from benchmark.suite import Suite, run_folder
from benchmark.texts.serving import Serving
from tasks.catalog import find_task, load_problems
from tasks.checkpoints import inspect_checkpoint
from tasks.errors import UserError
from tasks.grading import Asked, grade_all
from tasks.schema import Split
from tasks.settings import build_settings

ALARM = 0.01
"""At this p the new texts score differently: an honest entry is suspected once in a hundred times."""
ALIKE = 0.05
"""At this p of the equivalence test they score alike."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Old and new scores of the same items of one unit."""

    items: list[tuple[str, str, str]]
    """Task, split and item."""
    old: list[float]
    new: list[float]
    identical: int
    texts: int


def reevaluate(
    opened: Opened,
    checkpoints: Path,
    *,
    units: int,
    engine: str,
    generator: np.random.Generator,
    report: Callable[[str], None],
) -> tuple[Reevaluated | None, str]:
    """Generate a random part of an entry again and compare its scores, item by item.

    Args:
        opened: an entry that `check_entry` found sound.
        checkpoints: a results folder with runs/ARM/seed_N/checkpoints/step_NNNNNN.
        units: how many (checkpoint, task, split) are drawn.
        engine: that decodes; "auto" takes what is there.
        generator: draws them.
        report: gets a line for each.

    Returns:
        The finding and a line about it; no finding where too few items were generated to call them alike.

    Raises:
        Fault: the checkpoints are other ones, or the new texts score differently.
        UserError: a checkpoint is missing, or the suite is not one of this checkout.
    """
    suite = build_settings(Suite, dict(opened.entry.suite), source="entry.json [suite]")
    distinct = {row.sample_key: row for row in opened.rows if not row.missing}
    keys = sorted(distinct)
    drawn = generator.choice(len(keys), size=min(units, len(keys)), replace=False)
    chosen = sorted(
        (distinct[keys[at]] for at in drawn), key=lambda row: (row.weights_hash, row.task, row.split)
    )
    first = _folder(suite, checkpoints, chosen[0])
    decodings = {row.task: suite.decoding(row.task) for row in chosen}
    serving = Serving(engine, first, decodings, dtype=suite.dtype, max_sequences=suite.max_sequences)
    found: list[Pairs] = []
    try:
        for row in chosen:
            found.append(_again(opened, suite, row, serving, checkpoints))
            report(f"{row.arm} seed {row.seed} step {row.step} {row.task} {row.split}: "
                   f"{np.mean(found[-1].old):.4f} before, {np.mean(found[-1].new):.4f} now")  # fmt: skip
    finally:
        serving.close()
    return judge(found, serving.engine.name, entry_endpoints(opened.entry).margin)


def judge(found: Sequence[Pairs], engine: str, margin: float) -> tuple[Reevaluated | None, str]:
    """Conclude from the pairs of all units; an item counts once, however many units answered it.

    Raises:
        Fault: they differ.
    """
    of_item: dict[tuple[str, str, str], list[float]] = {}
    for pairs in found:
        for item, old, new in zip(pairs.items, pairs.old, pairs.new, strict=True):
            of_item.setdefault(item, []).append(new - old)
    difference = np.array([np.mean(values) for values in of_item.values()])
    texts = sum(pairs.texts for pairs in found)
    identical = sum(pairs.identical for pairs in found) / texts
    p, alike = paired_t_p(difference), equivalence_p(difference, margin)
    if (
        not difference.any()
    ):  # scores lie in [0, 1]: a mean beyond the margin needs that share of items to differ
        alike = float((1 - margin) ** len(difference))
    mean = float(difference.mean())
    line = f"{len(difference)} items, {identical:.1%} of {texts} texts identical, mean score {mean:+.4f}"
    if p is not None and p <= ALARM:
        raise Fault(f"texts generated again score differently: {line}, p = {p:.2g}")
    if identical < 1 and (alike is None or alike > ALIKE):
        return None, f"not shown to score alike within {margin:g} ({line}); draw more with --units"
    finding = Reevaluated(
        engine=engine,
        units=len(found),
        items=len(difference),
        identical=identical,
        difference=mean,
        margin=margin,
        p_equivalent=alike,
    )
    return finding, f"scores alike within {margin:g}: {line}"


def _again(opened: Opened, suite: Suite, row: ResultRow, serving: Serving, checkpoints: Path) -> Pairs:
    from benchmark.texts.generate import ask, quiet_task_manager

    folder = _folder(suite, checkpoints, row)
    checkpoint = inspect_checkpoint(folder)
    if checkpoint.weights_hash != row.weights_hash:
        raise Fault(
            f"{folder}: has weights {checkpoint.weights_hash[:12]}, the entry's row names "
            f"{row.weights_hash[:12]}"
        )
    serving.load(checkpoint)
    decoding = suite.decoding(row.task)
    samples, _ = ask(row.task, row.split, decoding, serving.engine, serving.tokenizer, quiet_task_manager())
    return _pairs(row, _stored(opened, row), samples)


def _folder(suite: Suite, checkpoints: Path, row: ResultRow) -> Path:
    arm, seed = (suite.arms[0], suite.seeds[0]) if row.seed is None else (row.arm, row.seed)
    folder = run_folder(checkpoints, arm, seed) / "checkpoints" / f"step_{row.step:06d}"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such checkpoint; give the results folder that holds all of them")
    return folder


def _stored(opened: Opened, row: ResultRow) -> list[Sample]:
    name = texts_file(row.task, row.split)
    texts = unpack_texts(name, read_bytes(opened.folder, name, LIMITS.file_bytes))
    unit = list(texts.units).index(row.sample_key)
    return [Sample(item=line.item, index=line.index, **line.answers[line.given[unit]]._asdict())
            for line in texts.lines]  # fmt: skip


def _pairs(row: ResultRow, old: Sequence[Sample], new: Sequence[Sample]) -> Pairs:
    """Return the mean scores of every item that both could be graded on."""
    text_of = {(one.item, one.index): one.text for one in old}
    before, now = _scores(row.task, row.split, old), _scores(row.task, row.split, new)
    both = sorted(before.keys() & now.keys())
    return Pairs(
        items=[(row.task, row.split, item) for item in both],
        old=[before[item] for item in both],
        new=[now[item] for item in both],
        identical=sum(text_of.get((one.item, one.index)) == one.text for one in new),
        texts=len(new),
    )


def _scores(task: str, split: Split, samples: Sequence[Sample]) -> dict[str, float]:
    golds, kind = {one.id: one.gold for one in load_problems(task, split)}, find_task(task).answer
    grades = grade_all([Asked(one.text, golds[one.item], one.finish, kind) for one in samples])
    of_item: dict[str, list[float]] = {}
    for sample, grade in zip(samples, grades, strict=True):
        if grade.score is not None:
            of_item.setdefault(sample.item, []).append(grade.score)
    return {item: float(np.mean(scores)) for item, scores in of_item.items()}
