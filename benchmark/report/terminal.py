"""The report for the terminal: 100 columns, readable in a file too."""

from __future__ import annotations

import textwrap

from tabulate import tabulate

from benchmark.endpoints import MACRO
from benchmark.report.claims import sentence, task_name
from benchmark.report.results import Results
from benchmark.report.summary import SMOKE, summary
from benchmark.report.table import percent

WIDTH = 100
NAME = 24
HEADER = ["arm", "final", "peak\n(by validation)", "area under\nthe curve", "seeds"]


def terminal_text(heading: str, results: Results) -> str:
    """Return the summary, a table per task, and the claims about areas and peaks."""
    table = results.differences
    told = table["endpoint"].isin(["auc", "peak"]) & (table["axis"] == "steps") & (table["role"] != "primary")
    claims = [sentence(record, results.endpoints) for record in table[told].to_dict("records")]
    parts = [
        _wrap(heading),
        SMOKE if results.smoke else "",
        "\n".join(_wrap(line, "  ") for line in summary(results)),
        *(_task(results, task) for task in [*results.tasks, MACRO]),
        "\n".join(_wrap(claim, "  ") for claim in claims),
    ]
    return "\n\n".join(part for part in parts if part)


def _task(results: Results, task: str) -> str:
    arms = results.arms[results.arms["task"] == task].to_dict("records")
    if not arms:
        return ""
    lines = [
        [_cut(row["arm"]), *(percent(row[name]) for name in ("final", "peak", "auc")), row["n_seeds"]]
        for row in arms
    ]
    title = f"{task_name(task)} ({arms[0]['n_items']} items, untrained {percent(arms[0]['base'].mean)})"
    return f"{_wrap(title)}\n{tabulate(lines, headers=HEADER, disable_numparse=True)}"


def _cut(name: str) -> str:
    return name if len(name) <= NAME else f"{name[: NAME - 1]}…"


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
