"""Tables as Markdown: pipes, no padding, so that a longer cell changes one line of a diff."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from benchmark.report.table import Table

_SPECIAL = str.maketrans({"<": "&lt;", "`": "\\`", "\\": "\\\\"})


def grid(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Lay out cells under headings.

    >>> print(grid(["a|b"], [["x"]]))
    | a\\|b |
    | --- |
    | x |
    """
    rows = [[escape(str(cell)) for cell in line] for line in [header, *lines]]
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], ["---"] * len(header), *rows[1:]])


def escape(text: str) -> str:
    """Write a text into a cell: as `inline`, and no cell border.

    >>> escape("<script>|[a](b)")
    '&lt;script>\\\\|[a]\\\\(b)'
    """
    return inline(text).replace("|", "\\|")


def inline(text: str) -> str:
    """Write a text that Markdown must not read as markup: one line, no tag, code or link."""
    return re.sub(r"\s+", " ", text).translate(_SPECIAL).replace("](", "]\\(")


def section(table: Table, level: int = 2) -> str:
    """Return the table under its title, with its note."""
    body = grid(table.header(), table.lines()) if table.records else table.empty
    parts = [f"{'#' * level} {escape(table.title)}", body, table.note]
    return "\n\n".join(part for part in parts if part)
