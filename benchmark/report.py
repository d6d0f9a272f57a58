"""The report of a suite: Markdown to read, CSV to compute with, text for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from benchmark.compare import ENDPOINTS, arm_table, paired_differences, summarize_runs
from benchmark.curves import BASE, COUNTS
from benchmark.endpoints import MACRO
from benchmark.stats import Interval

COLUMNS = ("base", *ENDPOINTS)
HEADER = ["arm", "base", "final", "peak\n(chosen on validation)", "area\nunder the curve", "seeds", "items"]
NOUNS = {"final": "final value", "peak": "peak", "auc": "area under the curve"}
MISSING = "\N{EN DASH}"
SMOKE = "SMOKE RUN: it only shows that the machinery works. Its numbers mean nothing."


def write_report(  # noqa: PLR0913 - all keyword-only, each one a fact of the report
    frame: pd.DataFrame,
    out: Path,
    *,
    title: str,
    command: str,
    commit: str,
    engine: str,
    baseline: str = "grpo",
    kind: str = "real",
    metric: str = "accuracy",
    timing: dict[str, str] | None = None,
) -> str:
    """Write `report.md`, `report.csv` and `differences.csv`; equal rows in any order give equal bytes.

    The CSV files hold metric units, one line per task x arm x endpoint; a number that does not exist is an
    empty field. Percentages appear only in the Markdown and in the returned text.

    Args:
        frame: rows of one suite, as `rows.to_frame` returns them.
        out: folder, made when missing.
        title: first heading; a smoke report puts SMOKE before it.
        command: the command that reproduces the rows.
        commit: the commit the report is made at; the rows' own commits are listed beside it.
        engine: what generated the scored texts.
        baseline: the arm that the others are compared with.
        kind: "real" or "smoke"; rows of the other kind are never read.
        metric: a fraction in [0, 1].
        timing: wall-clock lines for a last section. The only part that differs between equal runs.

    Returns:
        The text for the terminal: the table of arms and one sentence per comparison.

    Raises:
        UserError: rows that cannot be compared or are incomplete (`learning_curves`), a baseline without
            runs or unpaired seeds (`paired_differences`). Nothing is written then.
    """
    runs = summarize_runs(frame, metric=metric, kind=kind)
    runs = runs[runs["task"] != MACRO]
    arms = arm_table(runs)
    arms = arms.loc[arms.assign(other=arms["arm"] != baseline).sort_values(["task", "other", "arm"]).index]
    differences = paired_differences(runs, baseline)
    shown = differences["endpoint"].isin(ENDPOINTS) & (differences["axis"] == "steps")
    differences = differences[shown].reset_index(drop=True)
    rows = frame[(frame["kind"] == kind) & (frame["metric"] == metric)]
    heading = f"SMOKE: {title}" if kind == "smoke" else title
    sections = [
        _head(heading, rows, command=command, commit=commit, engine=engine, smoke=kind == "smoke"),
        _coverage(runs),
        *_unmeasured(rows),
        *(_task_section(task, group) for task, group in arms.groupby("task")),
        _difference_section(differences, baseline),
        _count_section(runs, rows),
    ]
    if timing:
        sections.append("## Timing\n\n" + _markdown(["what", "time"], timing.items()))
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8", newline="\n")
    _write_tables(out, arms, differences)
    return _terminal(heading, arms, differences, smoke=kind == "smoke")


def _head(heading: str, rows: pd.DataFrame, *, command: str, commit: str, engine: str, smoke: bool) -> str:
    places = zip(rows["git_sha"], rows["git_dirty"], strict=True)
    commits = sorted({f"{sha} with uncommitted changes" if dirty else sha for sha, dirty in places})
    versions = sorted({f"{name} {version}" for found in rows["versions"] for name, version in found.items()})
    facts = {  # a row of a set that is not there has no device
        "Command": f"`{command}`",
        "Commit": f"{commit}; rows scored at {', '.join(commits)}",
        "Engine": f"{engine}; device {', '.join(sorted(set(rows['device']) - {''}))}",
        "Versions": ", ".join(versions) or f"{MISSING} (the rows name none)",
        "Suite": f"{rows['suite'].iloc[0]}, starting policy {rows['model'].iloc[0]}",
        "Metric": rows["metric"].iloc[0],
    }
    lines = [f"# {heading}", "", *(f"- {name}: {text}" for name, text in facts.items())]
    return "\n".join([*lines, "", f"**{SMOKE}**"] if smoke else lines)


def _coverage(runs: pd.DataFrame) -> str:
    seeds = runs.groupby(["task", "arm"]).size()
    low, high = seeds.min(), seeds.max()
    count = f"{low}" if low == high else f"{low} to {high}"
    return (
        f"Brackets: 95 % t interval over {count} training seed{'' if high == 1 else 's'}; the items are "
        "fixed, so it speaks about these items only.\n"
        "Final, peak and area are test values. Peak is the test value at the step that validation picks. "
        "The area is the mean height of the curve from step 0 to the last step.\n"
        "Base is one untrained policy, the same for every arm: it has no interval over seeds."
    )


def _unmeasured(rows: pd.DataFrame) -> list[str]:
    """Say which tasks of the suite have no numbers, and why; nothing where all have."""
    reasons = rows[rows["missing"] != ""].groupby("task")["missing"].first()
    lines = [f"- {task}: {reason}" for task, reason in reasons.items()]
    return ["\n".join(["## Not measured", "", *lines])] if lines else []


def _task_section(task: str, arms: pd.DataFrame) -> str:
    header = [name.replace("\n", " ") for name in HEADER]
    return f"## {task}\n\n" + _markdown(header, map(_arm_line, arms.to_dict("records")))


def _arm_line(row: dict[str, Any]) -> list[object]:
    return [row["arm"], *(_percent(row[name], name) for name in COLUMNS), row["n_seeds"], row["n_items"]]


def _difference_section(differences: pd.DataFrame, baseline: str) -> str:
    title = f"## Differences from {baseline}, paired by seed"
    if differences.empty:
        return f"{title}\n\n{MISSING} (there is no other arm)"
    records = differences.to_dict("records")
    rows = [
        [record["task"], record["arm"], NOUNS[record["endpoint"]], *_difference_cells(record), record["n"]]
        for record in records
    ]
    n = sorted({record["n"] for record in records})
    floor = ", ".join(f"{2 / 2**pairs:.3g} (n = {pairs})" for pairs in n)
    return "\n\n".join(
        [
            title,
            _markdown(["task", "arm", "endpoint", "difference (points)", "p", "MDE (points)", "pairs"], rows),
            "p: exact two-sided sign-flip test; the smallest it can give is "
            f"{floor}. MDE: the minimum detectable effect, the true difference that a two-sided paired "
            f"t test at 5 % finds with 80 % power. Not corrected for making {len(records)} comparisons.",
            "\n".join(f"- {_sentence(record)}" for record in records),
        ]
    )


def _difference_cells(record: dict[str, Any]) -> list[str]:
    mean, low, high = _points(record["difference"])
    bounds = f"[{MISSING}: {record['reason']}]" if low is None else f"[{low:+.2f}, {high:+.2f}]"
    p, mde = record["p"], record["mde"]
    return [
        f"{mean:+.2f} {bounds}",
        MISSING if p is None else f"{p:.3g}",
        MISSING if mde is None else f"{100 * mde:.2f}",
    ]


def _points(interval: Interval) -> tuple[float, float | None, float | None]:
    low, high = (None if bound is None else 100 * bound for bound in (interval.low, interval.high))
    return 100 * interval.mean, low, high


def _sentence(record: dict[str, Any]) -> str:
    """Claim what the interval carries and no more."""
    mean, low, high = _points(record["difference"])
    subject = f"{record['task']}, {NOUNS[record['endpoint']]}: {record['arm']}"
    pairs = f"{record['n']} pair{'' if record['n'] == 1 else 's'}"
    if low is None or high is None:
        return f"{subject} against {record['baseline']}: no statement; {record['reason']}."
    mde = 100 * record["mde"]
    if low <= 0 <= high:
        return (
            f"{subject} against {record['baseline']}: no difference shown ({pairs}); a difference inside "
            f"[{low:+.2f}, {high:+.2f}], or under the MDE of {mde:.2f} points, cannot be ruled out."
        )
    near, far = sorted((abs(low), abs(high)))
    return (
        f"{subject} is {'higher' if low > 0 else 'lower'} than {record['baseline']} by {abs(mean):.2f} "
        f"points (95 % interval {near:.2f} to {far:.2f}, {pairs}, p {record['p']:.3g}, MDE {mde:.2f})."
    )


def _count_section(runs: pd.DataFrame, rows: pd.DataFrame) -> str:
    """Count completions, not items, and keep the untrained policy apart: all arms share it."""
    base = rows[(rows["arm"] == BASE) & (rows["split"] == "test")]
    table = pd.concat([base.assign(n_completions=base["n_items"] * base["n_samples"]), runs])
    totals = table.groupby(["task", "arm"])[["n_completions", *COUNTS]].sum()
    lines = [
        [task, arm, int(row["n_completions"]), *(_share(row[name], row["n_completions"]) for name in COUNTS)]
        for (task, arm), row in totals.iterrows()
    ]
    header = ["task", "arm", "completions", *(name.removeprefix("n_") for name in COUNTS)]
    note = (
        "Test split, all checkpoints and seeds. Truncated and unparsed completions count as wrong; "
        "ungraded ones are left out of the values."
    )
    return f"## Completions without a clean answer\n\n{_markdown(header, lines)}\n\n{note}"


def _share(count: float, total: float) -> str:
    return f"{int(count)} ({100 * count / total:.1f} %)" if total else f"{int(count)}"


def _percent(interval: Interval, column: str) -> str:
    """Write "41.2 % [39.8, 42.6]"; bounds that do not exist show as a dash with the reason."""
    text = f"{100 * interval.mean:.1f} %"
    if interval.low is not None and interval.high is not None:
        return f"{text} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    if column == "base":
        return text
    return f"{text} [{MISSING}: {'1 seed' if interval.n < 2 else f'{interval.n} equal values'}]"


def _markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lay out a table without padding, so that a longer cell changes one line of a diff."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _terminal(heading: str, arms: pd.DataFrame, differences: pd.DataFrame, *, smoke: bool) -> str:
    rows = [[row["task"], *_arm_line(row)] for row in arms.to_dict("records")]
    table = tabulate(rows, headers=["task", *HEADER], disable_numparse=True)
    sentences = "\n".join(_sentence(record) for record in differences.to_dict("records"))
    return "\n\n".join(part for part in (heading, SMOKE if smoke else "", table, sentences) if part)


def _write_tables(out: Path, arms: pd.DataFrame, differences: pd.DataFrame) -> None:
    lines = [
        row | {"endpoint": name, "n_seeds": row[name].n} | _bounds(row[name])
        for row in arms.to_dict("records")
        for name in COLUMNS
    ]
    columns = ["task", "arm", "endpoint", "mean", "low", "high", "n_seeds", "n_items"]
    pd.DataFrame(lines, columns=columns).to_csv(out / "report.csv", index=False, lineterminator="\n")
    lines = [
        row | _bounds(row["difference"]) | {"p": _number(row["p"]), "mde": _number(row["mde"])}
        for row in differences.to_dict("records")
    ]
    columns = ["task", "arm", "baseline", "endpoint", "mean", "low", "high", "p", "mde", "n", "reason"]
    pd.DataFrame(lines, columns=columns).to_csv(out / "differences.csv", index=False, lineterminator="\n")


def _bounds(interval: Interval) -> dict[str, str]:
    return {name: _number(getattr(interval, name)) for name in ("mean", "low", "high")}


def _number(value: float | None) -> str:
    # Nine digits: more than any accuracy has, fewer than platforms disagree on.
    return "" if value is None else f"{value:.9g}"
