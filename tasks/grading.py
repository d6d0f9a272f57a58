"""The one grader: it gives training its reward and the benchmark its score.

Policy, then tool: cut off the thinking, take the last complete `\\boxed{}`, else what follows "answer is", else the
last number of the text; then compare as strings, as exact numbers, and at last with math-verify.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from tasks.engines import Finish
from tasks.schema import Grade, Status

GRADER_VERSION = "1"
"""Part of every task version: raise it whenever a verdict changes."""

MAX_ANSWER_CHARS = 400
"""Longer answers are not handed to a parser: no honest answer is that long, and parsers are not linear."""

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_STATED = re.compile(r"answer\s+is\s*:?\s*\$?([^\s$]+?)\$?\s*\.?\s*$", re.IGNORECASE | re.MULTILINE)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:/\d+)?")
_PLAIN = re.compile(r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:/\d+)?")


def grade(text: str, gold: str, finish: Finish) -> Grade:
    """Judge one completion against the reference answer.

    Args:
        text: the decoded completion, without special tokens.
        gold: the reference answer.
        finish: why the completion ended, as the engine said.

    Returns:
        A grade. A completion without an answer is `truncated` when it was cut off and `unparsed` when not.

    >>> grade("so 12, then 13: \\\\boxed{025}", "25", Finish.STOP).status
    <Status.CORRECT: 'correct'>
    >>> grade("I do not know", "25", Finish.STOP).status
    <Status.UNPARSED: 'unparsed'>
    """
    if not gold.strip():
        return Grade(status=Status.BAD_GOLD, answer=None, detail="the reference answer is empty")
    answer = extract_answer(text)
    if finish is Finish.LENGTH and (answer is None or not _has_box(text)):
        return Grade(status=Status.TRUNCATED, answer=answer)
    if answer is None:
        return Grade(status=Status.UNPARSED, answer=None)
    if len(answer) > MAX_ANSWER_CHARS:
        return Grade(status=Status.WRONG, answer=answer[:MAX_ANSWER_CHARS], detail="answer too long to parse")
    return compare(answer, gold)


def extract_answer(text: str) -> str | None:
    """Find the answer: last complete box, else after "answer is", else the last number; None if there is none.

    >>> extract_answer("first \\\\boxed{3}, no: \\\\boxed{\\\\frac{1}{2}}")
    '\\\\frac{1}{2}'
    >>> extract_answer("12,13;132")
    '132'
    """
    visible = text.rpartition("</think>")[2]
    for match in reversed(list(_BOX.finditer(visible))):
        content = _braced(visible, match.end())
        if content is not None and content.strip():
            return content.strip()
    if stated := _STATED.findall(visible):
        return str(stated[-1])
    numbers = _NUMBER.findall(visible)
    return numbers[-1].rstrip(",") if numbers else None


def _braced(text: str, start: int) -> str | None:
    """Return the text from `start` up to the brace that closes the one before it; None if it never closes."""
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[start:position]
    return None


def _has_box(text: str) -> bool:
    return any(_braced(text, match.end()) is not None for match in _BOX.finditer(text))


def compare(answer: str, gold: str) -> Grade:
    """Compare an extracted answer with the reference: as text, as exact numbers, then with math-verify."""
    left, right = _normalise(answer), _normalise(gold)
    if left == right:
        return Grade(status=Status.CORRECT, answer=answer)
    if _PLAIN.fullmatch(left) and _PLAIN.fullmatch(right):
        try:
            same = Fraction(left) == Fraction(right)
        except (ValueError, ZeroDivisionError):
            same = False  # "1/0" names no number, so it equals none
        return Grade(status=Status.CORRECT if same else Status.WRONG, answer=answer)
    return _math_verify(answer, gold)


def _normalise(text: str) -> str:
    """Drop what never changes a number: spaces, dollar signs, a final period, thousands separators."""
    bare = re.sub(r"[\s$]|\\[,!;]", "", text).rstrip(".")
    return bare.replace(",", "") if re.fullmatch(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?", bare) else bare


def _math_verify(answer: str, gold: str) -> Grade:
    from math_verify import parse, verify  # loads sympy, which plain numbers never need

    def boxed(text: str) -> Any:
        return parse(f"\\boxed{{{text}}}", raise_on_error=True)

    try:
        gold_parsed, answer_parsed = boxed(gold), boxed(answer)
        if not gold_parsed:
            return Grade(status=Status.BAD_GOLD, answer=answer, detail=f"cannot read the reference {gold!r}")
        if not answer_parsed:
            return Grade(status=Status.WRONG, answer=answer, detail="not a mathematical expression")
        correct = verify(gold_parsed, answer_parsed, raise_on_error=True)
    except Exception as error:  # noqa: BLE001 - sympy raises anything; a failed grader is a status, not a zero
        return Grade(status=Status.ERROR, answer=answer, detail=f"{type(error).__name__}: {error}"[:200])
    return Grade(status=Status.CORRECT if correct else Status.WRONG, answer=answer)
