"""The board as one HTML page, as Markdown and as CSV. The same entries give the same bytes."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from benchmark.board.cells import COLUMNS
from benchmark.board.records import LEVELS
from benchmark.board.standing import Group
from tasks.grading import GRADER_VERSION

HERE = Path(__file__).parent
BRACKETS = (
    "a t interval over training seeds, nothing else: it speaks about training again with other seeds on "
    "these very "
    "items, not about other items, and it does not hold the noise of decoding apart"
)
RULES = (
    (
        "± and [low, high]",
        BRACKETS + ".",
    ),
    (
        "tied set",
        "Rows are not ranked one below the other. Best is the row with the best mean of the primary "
        "endpoint; tied are all "
        "that a two-sided t test over training seeds does not tell from it, after Holm over all rows of "
        "the table. Arms of "
        "one entry share their seeds and are paired by them; arms of different entries are compared by "
        "Welch's test. Tied "
        "does not mean equal.",
    ),
    (
        "what is comparable",
        "Rows stand in one table when suite (tasks, decoding, recipe, endpoints), base model and its "
        "weights, task versions, what was measured of them, grader, engine and the steps looked at agree; "
        "arms, seeds and how checkpoints are kept may differ. Every row is decoded as its suite asks. An "
        "entry that lacks a task of its suite has no number over tasks and is not ranked. Never compare "
        "across tables. Scores are absolute: a new entry moves no old number.",
    ),
    (
        "unit of inference",
        "The training seed. Items and samples make one seed's value more precise; they do not stand in for "
        "seeds.",
    ),
    (
        "peak on test",
        "The checkpoint is chosen on validation and reported on test, so it is not the highest of many "
        "noisy values.",
    ),
    (
        "times to a level",
        "First crossing of a level that the suite declares, by an isotonic fit for each run. > says that "
        "runs did not get "
        "there: the number is then a lower bound.",
    ),
    (
        "verified",
        "declared: files, hashes, counts and declared runs hold together. re-scored: a maintainer's "
        "machine computed every "
        "number again from the stored texts. re-evaluated: a random part of the texts was generated again "
        "from the "
        "checkpoints and scores alike. reproduced: somebody else trained it again, with other weights and "
        "equivalent results, and that entry was re-scored too.",
    ),
    (
        "superseded, refuted",
        "Any entry may claim it of another one; the claim is shown and changes nothing. Once a maintainer "
        "has confirmed it, the other entry stays where it is, says so, and is not ranked.",
    ),
    (
        "–",
        "Not there. The reason stands in the row's details, and where a mouse rests on it. It is never a "
        "zero.",
    ),
)
"""What every page says about its numbers, before any of them."""


def html_page(groups: Sequence[Group]) -> str:
    """Return the page: nothing in it is fetched, and nothing but its own script and style runs."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=select_autoescape(["jinja"]), undefined=StrictUndefined
    )
    style, script = (HERE / "page.css").read_text("utf-8"), (HERE / "page.js").read_text("utf-8")
    return environment.get_template("page.html.jinja").render(
        groups=groups,
        columns=COLUMNS,
        sorted_by="auc",
        levels=list(enumerate(LEVELS))[1:],
        rules=RULES,
        brackets=BRACKETS,
        grader=GRADER_VERSION,
        policy=Markup(policy(script, style)),  # quotes of our own; no entry's text is in it
        style=Markup(style),
        script=Markup(script),
    )


def policy(script: str, style: str) -> str:
    """Return the Content-Security-Policy that allows this script and this style and nothing else.

    >>> policy("1", "").split("; ")[0]
    "default-src 'none'"
    """
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src 'sha256-{hashes[0]}'",
            f"style-src 'sha256-{hashes[1]}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        ]
    )


def markdown_page(groups: Sequence[Group]) -> str:
    """Return the board as Markdown; nothing in an entry can open a tag, a link or another cell."""
    lines = ["# Leaderboard", "", "Made by `python -m benchmark board` from results/entries.", ""]
    lines += [f"- **{term}** {text}" for term, text in RULES]
    if not groups:
        lines += ["", "There is no entry yet."]
    for group in groups:
        lines += [
            "",
            f"## {markdown(group.title)}",
            "",
            markdown(group.note),
            "",
            markdown(group.caption),
            "",
        ]
        lines.append(f"| {' | '.join(column.name for column in COLUMNS)} | entry |")
        lines.append(f"| {' | '.join('---:' if one.kind == 'number' else '---' for one in COLUMNS)} | --- |")
        reasons: dict[str, int] = {}
        for row in group.rows:
            cells = []
            for _, cell in row.cells:
                note = f" ({reasons.setdefault(cell.why, len(reasons) + 1)})" if cell.why else ""
                cells.append(markdown(cell.plain) + note)
            named = markdown(row.id) + (f" ({markdown(row.remark)})" if row.remark else "")
            lines.append(f"| {' | '.join(cells)} | {named} |")
        lines += [""] + [f"({number}) {markdown(reason)}  " for reason, number in reasons.items()]
    return "\n".join(lines).rstrip() + "\n"


def markdown(text: str) -> str:
    r"""Escape text for a cell of a Markdown table.

    >>> print(markdown("<b>|[x](https://a.b) @me"))
    &lt;b&gt;\|\[x\]\(https\://a.b\) &#64;me
    """
    text = re.sub(r"([\\`*_{}\[\]()#|~:!$])", r"\\\1", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")
    return re.sub(r"(?i)www\.", r"www\\.", text)


def csv_page(groups: Sequence[Group]) -> str:
    """Return the board as CSV; no cell can be taken for a formula by a spreadsheet."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["table", "entry", "title", "status", *(column.name for column in COLUMNS), "missing"])
    for group in groups:
        for row in group.rows:
            reasons = "; ".join(f"{column.name}: {cell.why}" for column, cell in row.cells if cell.why)
            cells = [cell.plain for _, cell in row.cells]
            writer.writerow(map(plain_cell, [group.title, row.id, row.title, row.remark, *cells, reasons]))
    return file.getvalue()


def plain_cell(text: str) -> str:
    """Return text that a spreadsheet shows and does not compute.

    >>> plain_cell("=1+1"), plain_cell(" @SUM(A1)"), plain_cell("66.3 %")
    ("'=1+1", "' @SUM(A1)", '66.3 %')
    """
    return "'" + text if text.lstrip().startswith(("=", "+", "-", "@", "|", "%")) else text
