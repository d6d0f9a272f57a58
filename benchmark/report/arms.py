"""Tables with a line per arm: per task, per group, all tasks side by side, peaks, stability."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from benchmark.analysis.summaries import on_axis
from benchmark.endpoints import MACRO
from benchmark.filenames import file_stem
from benchmark.report.claims import NOUNS, task_name
from benchmark.report.published import published_cell
from benchmark.report.results import Results
from benchmark.report.table import MISSING, Column, Table, number, percent, plain, points
from benchmark.stats import Interval

ARM = Column("arm", "arm", plain)
TASK = Column("task", "task", plain)
COUNTS = (Column("n_seeds", "seeds", plain), Column("n_items", "items", plain))
VALUES = (
    Column("base", "base", lambda value: percent(value.mean)),
    Column("final", "final", percent),
    Column("last3", "mean of the last three", percent),
    Column("peak", "peak (chosen on validation)", percent),
    Column("auc", "area under the curve", percent),
    Column("auc_tokens", "area over tokens", percent, optional=True),
)


@dataclass(frozen=True)
class Judged(Interval):
    """A value with what was concluded about its difference from the baseline."""

    verdict: str = ""


def task_tables(results: Results) -> list[Table]:
    """Return a table per task, the mean over all tasks last: a line per arm."""
    model = str(results.rows["model"].iloc[0])
    tables = []
    for task in [*results.tasks, MACRO]:
        records = results.arms[results.arms["task"] == task].to_dict("records")
        if not records:
            continue
        printed = [published_cell(model, record["arm"], task) for record in records]
        columns: tuple[Column, ...] = (ARM, *VALUES, *COUNTS)
        if any(printed):
            columns = (*columns, Column("published", "published elsewhere", plain))
            records = [record | {"published": text} for record, text in zip(records, printed, strict=True)]
        name = "all_tasks" if task == MACRO else file_stem("task", task)
        tables.append(Table(name, task_name(task), columns, records, _axes_note(records)))
    return tables


def _axes_note(records: list[dict[str, Any]]) -> str:
    reason = records[0]["tokens_reason"]
    return f"No area over tokens: {reason}." if reason else ""


def seconds_table(results: Results) -> Table:
    """Return what depends on the clock: areas over seconds and the value when the first run ends."""
    columns = (
        TASK,
        ARM,
        Column("auc_seconds", "area over seconds", percent),
        Column("final_seconds", "value at the common end", percent),
        COUNTS[0],
        Column("seconds_reason", "why there is none", plain, optional=True),
    )
    records = [row | {"task": task_name(row["task"])} for row in results.arms.to_dict("records")]
    return Table("arms_seconds", "Arms by seconds of training", columns, records)


def group_table(results: Results, incomplete: dict[str, list[str]]) -> Table:
    """Return the means over whole groups of tasks; a group that is measured in part has none."""
    columns = (Column("task", "group", plain), ARM, *VALUES, *COUNTS)
    note = "\n".join(
        f"{name}: no mean, because {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not measured."
        for name, missing in incomplete.items()
    )
    return Table(
        "groups",
        "Groups of tasks",
        columns,
        results.groups.to_dict("records"),
        note,
        f"{MISSING} (no group of tasks is measured whole)",
    )


def overview_table(results: Results, endpoint: str) -> Table:
    """Return the arm x task table of one endpoint, with wins and losses.

    The primary endpoint is matched by the primary axis, another one by steps. An arrow marks a difference
    from the baseline that is significant after Holm's correction over the tasks.
    """
    primary = endpoint == results.endpoints.primary
    axis = results.endpoints.primary_axis if primary else "steps"
    judged = _verdicts(results, endpoint, axis)
    tasks = results.tasks
    better = "higher" if results.runs["higher_is_better"].iloc[0] else "lower"
    places = [*tasks, *([MACRO] if MACRO in set(results.arms["task"]) else [])]
    value = {
        (row["task"], row["arm"]): row[on_axis(endpoint, axis)] for row in results.arms.to_dict("records")
    }
    base = {row["task"]: row["base"].mean for row in results.arms.to_dict("records")}
    records: list[dict[str, Any]] = [
        {"arm": "base", **{task: Judged(base[task], None, None, 0) for task in places}}
    ]
    for arm in results.arm_names:
        record: dict[str, Any] = {"arm": arm}
        for task in places:
            verdict = judged.get((task, arm), {}).get("verdict", "")
            mean = value[task, arm]
            record[task] = None if mean is None else Judged(**asdict(mean), verdict=verdict)
        if arm != results.baseline:
            record |= _tally([judged[task, arm] for task in tasks], better)
        records.append(record)
    columns = [
        ARM,
        *(Column(task, task_name(task), _judged) for task in places),
        *(Column(name, heading, plain) for name, heading in TALLY.items()),
    ]
    note = (
        f"Against {results.baseline}: a better or worse mean is won or lost; \N{UPWARDS ARROW} and "
        "\N{DOWNWARDS ARROW} mark the differences that are significant after Holm's correction over the "
        'tasks, and "of these significant" counts them. Tied: equal means. Equivalent: shown to lie '
        "within the margin. The tally is over tasks; a count of wins is no test."
    )
    noun = NOUNS[endpoint] if axis == "steps" else f"{NOUNS[endpoint]}, matched by {axis}"
    return Table(f"arms_by_task_{endpoint}", f"Arms and tasks: {noun}", columns, records, note)


TALLY = {
    "won": "won",
    "won_significant": "of these significant",
    "lost": "lost",
    "lost_significant": "of these significant",
    "tied": "tied",
    "equivalent": "equivalent",
}


def _tally(judged: list[dict[str, Any]], better: str) -> dict[str, int]:
    worse = {"higher": "lower", "lower": "higher"}[better]
    ways = [_way(record["difference"]) for record in judged if record["difference"] is not None]
    verdicts = [record["verdict"] for record in judged]
    return {
        "won": ways.count(better),
        "won_significant": verdicts.count(better),
        "lost": ways.count(worse),
        "lost_significant": verdicts.count(worse),
        "tied": ways.count("tied"),
        "equivalent": verdicts.count("equivalent"),
    }


def _way(difference: Interval) -> str:
    # Equal accuracies may differ in the last bits, summed in another order.
    return "tied" if abs(difference.mean) < 1e-12 else "higher" if difference.mean > 0 else "lower"


def _verdicts(results: Results, endpoint: str, axis: str) -> dict[tuple[str, str], dict[str, Any]]:
    table = results.differences
    chosen = table[(table["endpoint"] == endpoint) & (table["axis"] == axis)]
    return {(row["task"], row["arm"]): row for row in chosen.to_dict("records")}


def _judged(value: Judged | None) -> str:
    if value is None:
        return MISSING
    if value.n == 0:
        return percent(value.mean)
    mark = {"higher": " \N{UPWARDS ARROW}", "lower": " \N{DOWNWARDS ARROW}"}.get(value.verdict, "")
    return percent(Interval(value.mean, value.low, value.high, value.n)) + mark


def peak_table(results: Results) -> Table:
    """Return the peaks with the checkpoints that validation chose.

    The raw maximum of the test values stands only beside the optimism that equally good checkpoints would
    show, which takes the grades of single items.
    """
    luck: dict[tuple[str, str], dict[str, float]] = {}
    if results.optimism is not None:
        names = ["raw_max", "optimism", "p_equal"]
        luck = results.optimism.groupby(["task", "arm"])[names].mean().to_dict("index")
    records = []
    for row in results.arms.to_dict("records"):
        runs = results.runs[(results.runs["task"] == row["task"]) & (results.runs["arm"] == row["arm"])]
        steps = sorted(int(step) for step in runs["peak_step"])
        records.append(
            {"task": task_name(row["task"]), "arm": row["arm"], "peak": row["peak"]}
            | {"peak_steps": steps, "at_the_end": int((runs["peak_step"] == runs["last_step"]).sum())}
            | {"n_seeds": row["n_seeds"]}
            | luck.get((row["task"], row["arm"]), {})
        )
    columns = (
        TASK,
        ARM,
        Column("peak", "peak (chosen on validation)", percent),
        Column("peak_steps", "at the steps", _list),
        Column("at_the_end", "seeds that chose the last checkpoint", plain),
        Column("raw_max", "raw maximum (chosen on test: no result)", percent, optional=True),
        Column("optimism", "its expected optimism (points)", points, optional=True),
        Column("p_equal", "how often equal checkpoints reach it", number(2), optional=True),
        COUNTS[0],
    )
    return Table("peaks", "Peaks and their checkpoints", columns, records, LUCK if luck else NO_LUCK)


LUCK = (
    "Raw maximum, optimism and frequency are means over runs. Optimism: by how much the maximum of "
    "equally good checkpoints exceeds their common mean (parametric bootstrap over items)."
)
NO_LUCK = (
    "The raw maximum over checkpoints is not shown: the optimism that belongs beside it takes the grades "
    "of single items, which are not in this folder."
)


def _list(values: list[int]) -> str:
    return ", ".join(map(str, values))


def stability_table(results: Results) -> Table:
    """Return whether runs kept what they had learnt: drop from the peak, worst seed, collapses."""
    records = [row | {"task": task_name(row["task"])} for row in results.arms.to_dict("records")]
    columns = (
        TASK,
        ARM,
        Column("final", "final", percent),
        Column("last3", "mean of the last three", percent),
        Column("drop", "final − peak (points)", points),
        Column("worst", "final of the worst seed", percent),
        Column("worst_seed", "which seed", plain),
        Column("n_collapsed", "collapsed runs", plain),
        COUNTS[0],
    )
    note = (
        "Collapsed: a run that rose by 3 points or more and kept less than half of its rise, or that "
        "ended 3 points or more below the untrained policy."
    )
    return Table("stability", "Stability", columns, records, note)


def metric_table(results: Results) -> Table:
    """Return final value and peak by the other metrics of the rows, such as pass@4; no test reads them."""
    records = [
        {"metric": metric} | row | {"task": task_name(row["task"])}
        for metric, arms in results.other_metrics.items()
        for row in arms.to_dict("records")
    ]
    values = (VALUES[0], VALUES[1], VALUES[3])
    columns = (Column("metric", "metric", plain), TASK, ARM, *values, *COUNTS)
    note = f"Secondary: shown, not tested. Peaks are at the checkpoints that {results.metric} chose."
    return Table("metrics", "Other metrics", columns, records, "\n".join([note, *results.left_out]))
