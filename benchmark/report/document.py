"""All tables of a report in their order, and the files they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.report import arms, counts, latex, markdown, pairs
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

    heading: str
    facts: dict[str, str]
    summary: list[str]
    reading: str
    tables: list[Table]
    claims: list[str]
    """One per comparison."""
    smoke: bool
    timing: dict[str, str]


def build(
    heading: str,
    facts: dict[str, str],
    results: Results,
    timing: dict[str, str] | None = None,
) -> Document:
    """Put a report together.

    Args:
        heading: its title.
        facts: where the numbers come from.
        results: the frames.
        timing: what each stage took.
    """
    return Document(
        heading=heading,
        facts=facts,
        summary=summary(results),
        reading=how_to_read(results),
        tables=_tables(results),
        claims=[sentence(record, results.endpoints) for record in results.differences.to_dict("records")],
        smoke=results.smoke,
        timing=timing or {},
    )


def _tables(results: Results) -> list[Table]:
    primary = results.endpoints.primary
    incomplete = incomplete_groups(results.tasks)
    missing = counts.unmeasured_table(results)
    tables = [missing] if missing else []
    tables += [arms.overview_table(results, endpoint) for endpoint in dict.fromkeys([primary, "peak"])]
    tables += arms.task_tables(results)
    if incomplete or not results.groups.empty:
        tables.append(arms.group_table(results, incomplete))
    tables += pairs.difference_tables(results)
    if not results.groups.empty and results.others:
        tables.append(pairs.group_difference_table(results))
    by_item = pairs.item_table(results)
    tables += [by_item] if by_item else []
    tables += [pairs.speed_table(results), pairs.level_table(results), pairs.time_table(results)]
    tables += [arms.peak_table(results), arms.stability_table(results)]
    if results.other_metrics:
        tables.append(arms.metric_table(results))
    tables.append(counts.count_table(results))
    model, names = str(results.rows["model"].iloc[0]), ["base", *results.arm_names]
    printed = published_table(model, names, results.arms)
    return [*tables, printed] if printed.records else tables


def write(document: Document, out: Path) -> None:
    """Write `report.md`, `.json` and `.tex`, and `tables/NAME.csv` and `.tex`; tables of before go."""
    write_text(out / "report.md", as_markdown(document))
    write_json(out / "report.json", as_json(document))
    names = [table.name for table in document.tables]
    paragraphs = [*([SMOKE] if document.smoke else []), *document.summary, document.reading]
    write_text(out / "report.tex", latex.document(document.heading, paragraphs, names))
    folder = out / "tables"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.suffix in (".csv", ".tex") and path.stem not in names:
            path.unlink()
    for table in document.tables:
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
    if document.timing:
        parts.append("## Timing\n\n" + markdown.grid(["what", "time"], document.timing.items()))
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
        "timing": document.timing,
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
