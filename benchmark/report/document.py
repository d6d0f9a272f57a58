"""All tables of a report in their order, and the files they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.report import arms, counts, latex, markdown, pairs, secondary
from benchmark.report.claims import sentence
from benchmark.report.files import as_csv, as_records
from benchmark.report.published import published_table
from benchmark.report.results import Results, incomplete_groups
from benchmark.report.summary import SMOKE, how_to_read, summary
from benchmark.report.table import Table
from tasks.files import write_json, write_text


@dataclass(frozen=True, kw_only=True)
class Document:
    """A report before it has a format."""

    name: str
    """Of its files."""
    heading: str
    facts: dict[str, str]
    summary: list[str]
    reading: str
    tables: list[Table]
    claims: list[str]
    """One per comparison."""
    smoke: bool


def build(heading: str, facts: dict[str, str], results: Results) -> list[Document]:
    """Put together the report, and what depends on the clock as a document of its own.

    Args:
        heading: title of the report.
        facts: where the numbers come from.
        results: the frames.
    """
    by_clock = results.differences["axis"].isin(pairs.CLOCK)
    shared: dict[str, Any] = {"facts": facts, "smoke": results.smoke}
    report = Document(
        name="report",
        heading=heading,
        summary=summary(results),
        reading=how_to_read(results),
        tables=_tables(results),
        claims=_claims(results, ~by_clock),
        **shared,
    )
    clock = Document(
        name="seconds",
        heading=f"{heading}: by seconds of training",
        summary=[CLOCK_NOTE],
        reading=how_to_read(results),
        tables=[
            arms.seconds_table(results),
            *pairs.difference_tables(results, pairs.CLOCK),
            pairs.speed_table(results, pairs.CLOCK),
            pairs.level_table(results, pairs.CLOCK),
            pairs.time_table(results, pairs.CLOCK),
        ],
        claims=_claims(results, by_clock),
        **shared,
    )
    return [report, clock]


CLOCK_NOTE = (
    "Seconds compare on one machine with the same load only; another run of the same command gives other "
    "numbers here and the same ones in report.md."
)


def _claims(results: Results, chosen: pd.Series) -> list[str]:
    return [sentence(one, results.endpoints) for one in results.differences[chosen].to_dict("records")]


def _tables(results: Results) -> list[Table]:
    primary = results.endpoints.primary
    incomplete = incomplete_groups(results.tasks)
    missing, by_item = counts.unmeasured_table(results), pairs.item_table(results)
    tables = [missing] if missing else []
    tables += [arms.overview_table(results, endpoint) for endpoint in dict.fromkeys([primary, "peak"])]
    tables += arms.task_tables(results)
    if incomplete or not results.groups.empty:
        tables.append(arms.group_table(results, incomplete))
    tables += pairs.difference_tables(results, pairs.COUNTED)
    if not results.groups.empty and results.others:
        tables.append(pairs.group_difference_table(results))
    tables += [by_item] if by_item else []
    tables += [
        make(results, pairs.COUNTED) for make in (pairs.speed_table, pairs.level_table, pairs.time_table)
    ]
    tables += [arms.peak_table(results), arms.stability_table(results)]
    if results.other_metrics or results.left_out:
        tables.append(arms.metric_table(results))
    tables += filter(None, [secondary.robust_table(results), secondary.variance_table(results)])
    tables.append(counts.count_table(results))
    model, names = str(results.rows["model"].iloc[0]), ["base", *results.arm_names]
    printed = published_table(model, names, results.arms)
    return [*tables, printed] if printed.records else tables


def write(documents: Sequence[Document], out: Path) -> None:
    """Write NAME.md, .json and .tex of each, and `tables/NAME.csv` and `.tex` of every table; old ones go."""
    folder = out / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    tables = [table for document in documents for table in document.tables]
    for document in documents:
        names = [table.name for table in document.tables]
        paragraphs = [*([SMOKE] if document.smoke else []), *document.summary, document.reading]
        write_text(out / f"{document.name}.md", as_markdown(document))
        write_json(out / f"{document.name}.json", as_json(document))
        write_text(out / f"{document.name}.tex", latex.document(document.heading, paragraphs, names))
    for path in folder.iterdir():
        if path.suffix in (".csv", ".tex") and path.stem not in {table.name for table in tables}:
            path.unlink()
    for table in tables:
        write_text(folder / f"{table.name}.csv", as_csv(table))
        write_text(folder / f"{table.name}.tex", latex.fragment(table))


def as_markdown(document: Document) -> str:
    """Return the report to read."""
    head = [f"# {markdown.escape(document.heading)}", ""]
    head += [f"- {name}: {text}" for name, text in document.facts.items()]
    parts = ["\n".join([*head, "", f"**{SMOKE}**"] if document.smoke else head)]
    parts += ["## Summary\n\n" + _bullets(document.summary), document.reading]
    parts += [markdown.section(table) for table in document.tables]
    if document.claims:
        parts.append("## What each comparison carries\n\n" + _bullets(document.claims))
    return "\n\n".join(parts) + "\n"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {markdown.inline(line)}" for line in lines)


def as_json(document: Document) -> dict[str, object]:
    """Return the report for programs: raw numbers under the names of the columns, missing is null."""
    return {
        "heading": document.heading,
        "smoke": document.smoke,
        "facts": document.facts,
        "summary": document.summary,
        "claims": document.claims,
        "tables": {
            table.name: {
                "title": table.title,
                "headings": {column.name: column.heading for column in table.columns},
                "note": table.note,
                "records": as_records(table),
            }
            for table in document.tables
        },
    }
