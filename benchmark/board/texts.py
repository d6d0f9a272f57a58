"""The texts of an entry: one xz file per task and split, an item a line, equal answers once.

The first lines, one for each unit (checkpoint), say what was asked and what the engine did. Every further
line is one sample of one item: its distinct answers, and for each unit, in order, which of them it gave.
The checkpoints of a run mostly answer alike, so this takes about a byte a sample.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmark.board.reading import LIMITS, Limits, parse_json, read_lines, refuse
from benchmark.rows import ResultRow
from benchmark.store import Sample, sample_key
from tasks.engines import Finish

KEYS = {"request", "effective"}
ITEM_KEYS = {"item", "index", "answers", "given"}
NONE = -1
"""Stands for an answer that a unit does not have."""


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What one file holds."""

    units: dict[str, UnitHead]
    """Key -> what was asked and done, in the file's order."""
    lines: list[ItemLine]


class UnitHead(NamedTuple):
    """One checkpoint on one split."""

    request: dict[str, Any]
    effective: Any


class Answer(NamedTuple):
    """One distinct answer to an item."""

    text: str
    tokens: int
    finish: Finish
    seed: int
    prompt_hash: str


@dataclass(frozen=True, slots=True)
class ItemLine:
    """One sample index of one item: its distinct answers and who gave which."""

    item: str
    index: int
    answers: list[Answer]
    given: list[int]
    """For each unit a place in `answers`, or NONE."""


def pack_texts(units: Sequence[tuple[UnitHead, Iterable[Sample]]]) -> bytes:
    """Return the compressed file of the units of one task and split."""
    answers: dict[tuple[str, int], dict[Answer, int]] = {}
    given: dict[tuple[str, int], list[int]] = {}
    for at, (_, samples) in enumerate(units):
        for one in samples:
            place = (one.item, one.index)
            answer = Answer(one.text, one.tokens, one.finish, one.seed, one.prompt_hash)
            known = answers.setdefault(place, {})
            given.setdefault(place, [NONE] * len(units))[at] = known.setdefault(answer, len(known))
    lines: list[Any] = [{"request": head.request, "effective": head.effective} for head, _ in units]
    lines += [
        {"item": item, "index": index, "answers": list(known), "given": given[item, index]}
        for (item, index), known in sorted(answers.items())
    ]
    text = "".join(json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n" for line in lines)
    return lzma.compress(text.encode())


def unpack_texts(name: str, content: bytes, limits: Limits = LIMITS) -> Texts:
    """Read such a file from a stranger.

    Raises:
        Fault: not of that form, or beyond the limits.
    """
    units: dict[str, UnitHead] = {}
    lines: list[ItemLine] = []
    heads, answers, samples = 0, 0, 0
    for where, raw in read_lines(content, name, limits):
        line = parse_json(where, raw, limits, free_text=True)
        if isinstance(line, dict) and line.keys() == KEYS and not lines:
            request = line["request"]
            if not isinstance(request, dict):
                refuse(where, "a request that is no object")
            heads += len(raw)
            if heads > limits.line_bytes or len(units) >= limits.samples:
                refuse(where, f"more than {limits.line_bytes} bytes of units, or more units than samples")
            key = sample_key(request)
            if key in units:
                refuse(where, f"unit {key} stands there twice")
            units[key] = UnitHead(request, line["effective"])
        elif isinstance(line, dict) and line.keys() == ITEM_KEYS:
            lines.append(_item_line(where, line, len(units)))
            answers, samples = answers + len(lines[-1].answers), samples + max(1, len(units))
            if answers > limits.answers or max(answers, samples) > limits.samples:
                most = min(limits.answers, limits.samples)
                refuse(where, f"more than {most} answers, or more than entry.json counts")
        else:
            refuse(where, "neither a unit nor an item")
    places = {(line.item, line.index) for line in lines}
    if len(places) != len(lines):
        refuse(name, "the same sample of the same item stands there twice")
    return Texts(units=units, lines=lines)


def _item_line(where: str, line: dict[str, Any], count: int) -> ItemLine:
    try:
        answers = [Answer(*answer) for answer in line["answers"]]
    except TypeError:
        refuse(where, "an answer is not [text, tokens, finish, seed, prompt hash]")
    typed = [_answer(where, answer) for answer in answers]
    given = line["given"]
    sound = (
        isinstance(line["item"], str)
        and _count(line["index"])
        and isinstance(given, list)
        and len(given) == count
        and all(type(at) is int and NONE <= at < len(typed) for at in given)
    )
    if not sound:
        refuse(where, "does not say for every unit which of the answers it gave")
    return ItemLine(line["item"], line["index"], typed, given)


def _answer(where: str, answer: Answer) -> Answer:
    try:
        finish = Finish(answer.finish)
    except (ValueError, TypeError):
        refuse(where, "an unknown way for a text to end")
    sound = (
        isinstance(answer.text, str)
        and isinstance(answer.prompt_hash, str)
        and _count(answer.tokens)
        and _count(answer.seed)
    )
    if not sound:
        refuse(where, "an answer is not [text, tokens, finish, seed, prompt hash]")
    return answer._replace(finish=finish)


def _count(value: object) -> bool:
    return type(value) is int and value >= 0


def split_of(name: str) -> tuple[str, str]:
    """Return (task, split) of a file of texts.

    >>> split_of("samples/gsm_symbolic_easy_test.jsonl.xz")
    ('gsm_symbolic_easy', 'test')
    """
    task, _, split = name.removeprefix("samples/").removesuffix(".jsonl.xz").rpartition("_")
    return task, split


def texts_file(task: str, split: str) -> str:
    """Return the name of the file of texts of a split."""
    return f"samples/{task}_{split}.jsonl.xz"


def rows_of(rows: Iterable[ResultRow], task: str, split: str) -> list[ResultRow]:
    """Return the rows of one split that rest on texts."""
    return [row for row in rows if (row.task, row.split) == (task, split) and not row.missing]
