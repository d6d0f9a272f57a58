"""`python -m benchmark report SUITE`: tables and curves from the rows."""

from __future__ import annotations

import argparse

from benchmark.commands.common import Commands, chosen_suite, run_command, suite_flags


def add(commands: Commands) -> None:
    """Declare the command."""
    report = commands.add_parser(
        "report", parents=[suite_flags()], help="write tables and curves from the rows"
    )
    report.set_defaults(act=lambda arguments: write(arguments, None, {}))


def write(arguments: argparse.Namespace, engine: str | None, timing: dict[str, str]) -> None:
    """Write the report of a suite and print its text.

    Args:
        arguments: of the command line.
        engine: what decoded; None takes it from the rows.
        timing: what each stage took, as text.
    """
    from benchmark.plots import draw_curves
    from benchmark.report import write_report
    from benchmark.rows import read_rows, to_frame

    suite, out = chosen_suite(arguments)
    frame = to_frame(read_rows(out / "rows.jsonl"))
    frame = frame[frame["suite"] == suite.name]
    text = write_report(
        frame,
        out,
        title=suite.summary,
        command=run_command(arguments),
        commit=", ".join(sorted(set(frame["git_sha"]))),
        engine=engine or ", ".join(sorted(set(frame["engine"]))),
        baseline=suite.baseline,
        kind=suite.kind,
    )
    pictures = draw_curves(frame, out, kind=suite.kind)
    print(text)
    if timing:
        print("time: " + ", ".join(f"{stage} {spent}" for stage, spent in timing.items()))
    print(f"tables: {out / 'report.md'}   curves: {pictures[0].with_name('curves.png')}")
