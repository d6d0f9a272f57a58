"""Two engines on the same checkpoint and items: greedy texts, verdict by verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from benchmark.store import Sample
from benchmark.texts.generate import ask, quiet_task_manager
from benchmark.texts.serving import open_scoring_engine
from tasks.catalog import expand_tasks, find_task, load_problems, scored_split
from tasks.checkpoints import inspect_checkpoint
from tasks.decoding import task_decoding
from tasks.grading import Asked, grade_all

SHOWN = 20
"""Differences listed in full."""


def compare_engines(checkpoint: Path, tasks: Sequence[str], left: str, right: str) -> tuple[str, float]:
    """Answer the scored split of every task with both engines, greedily.

    Returns:
        A report that lists every difference, and the share of items with the same verdict.
    """
    inspect_checkpoint(checkpoint)
    named = expand_tasks(tasks)
    problems = {task: load_problems(task, scored_split(task)) for task in named}
    answers = [_answers(named, checkpoint, engine) for engine in (left, right)]
    golds = {problem.id: problem.gold for task in named for problem in problems[task]}
    kinds = {problem.id: find_task(task).answer for task in named for problem in problems[task]}
    grades = [
        grade_all([Asked(samples[i].text, golds[i], samples[i].finish, kinds[i]) for i in golds])
        for samples in answers
    ]
    differing, same_verdicts = [], 0
    for (item, gold), *both in zip(golds.items(), *grades, strict=True):
        texts = [samples[item].text for samples in answers]
        verdicts = [grade.status for grade in both]
        same_verdicts += verdicts[0] is verdicts[1]
        if texts[0] != texts[1]:
            differing.append([item, gold, f"{texts[0]} ({verdicts[0]})", f"{texts[1]} ({verdicts[1]})"])
    share = same_verdicts / len(golds)
    text = (
        f"{len(golds)} items: same text {1 - len(differing) / len(golds):.1%}, same verdict {share:.1%} "
        f"({left} against {right})"
    )
    if differing:
        text += "\n" + tabulate(
            differing[:SHOWN], headers=["item", "gold", left, right], disable_numparse=True
        )
    if len(differing) > SHOWN:
        text += f"\n... and {len(differing) - SHOWN} more"
    return text, share


def _answers(tasks: Sequence[str], checkpoint: Path, name: str) -> dict[str, Sample]:
    from tasks.engines.forward import load_tokenizer

    decodings = {task: task_decoding(task, samples=1, temperature=0.0) for task in tasks}
    engine = open_scoring_engine(name, checkpoint, decodings, dtype="float32")
    tokenizer = load_tokenizer(checkpoint)
    manager = quiet_task_manager()
    try:
        return {
            sample.item: sample
            for task, decoding in decodings.items()
            for sample in ask(task, scored_split(task), decoding, engine, tokenizer, manager)[0]
        }
    finally:
        engine.close()
