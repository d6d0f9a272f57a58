"""A suite's results inside a README, between markers that the report fills."""

from __future__ import annotations

import re
from pathlib import Path

from benchmark.report import markdown
from benchmark.report.arms import overview_table
from benchmark.report.claims import sentence
from benchmark.report.results import Results
from benchmark.report.summary import SMOKE
from tasks.errors import UserError
from tasks.files import write_text


def results_block(results: Results, command: str) -> str:
    """Return the command, the arm x task table of the primary endpoint and what its comparisons carry.

    Every line of the table and of the claims stands in `report.md` too.
    """
    table = overview_table(results, results.endpoints.primary)
    differences = results.differences
    primary = differences["endpoint"] == results.endpoints.primary
    chosen = differences[primary & (differences["axis"] == results.endpoints.primary_axis)]
    claims = [sentence(record, results.endpoints) for record in chosen.to_dict("records")]
    parts = [
        f"`{command}`",
        f"**{SMOKE}**" if results.smoke else "",
        markdown.grid(table.header(), table.lines()),
        "\n".join(f"- {markdown.inline(claim)}" for claim in claims),
    ]
    return "\n\n".join(part for part in parts if part)


def fill(path: Path, suite: str, block: str) -> None:
    """Replace what stands between `<!-- table SUITE -->` and `<!-- /table SUITE -->` in a file.

    Raises:
        UserError: the file is not there, or does not hold the two markers once, in this order.
    """
    begin, end = f"<!-- table {suite} -->", f"<!-- /table {suite} -->"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give a file with the line {begin}"
        ) from None
    found = re.findall(re.escape(begin) + ".*?" + re.escape(end), text, flags=re.DOTALL)
    if len(found) != 1 or text.count(begin) != 1 or text.count(end) != 1:
        raise UserError(
            f"{path}: want the lines {begin} and {end} once, in this order; add them where the table goes"
        )
    write_text(path, text.replace(found[0], f"{begin}\n{block}\n{end}"))
