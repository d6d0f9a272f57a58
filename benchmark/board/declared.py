"""Does what an entry declares hold for its rows: every run, step and metric, and the sums over them?"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

from pydantic import ValidationError

from benchmark.board.entry import DeclaredRun, Entry
from benchmark.board.reading import LIMITS, ROWS, Fault, Limits, parse_json, shown
from benchmark.board.texts import texts_file
from benchmark.rows import IDENTITY, ResultRow
from benchmark.suite import BASE
from tasks.sampled import metric_names
from tasks.schema import Split

MOST_SAMPLES = 1 << 20
"""Per item."""
MOST_VERSIONS = 100
"""Libraries that one row may name."""
ROUNDING = 1e-9
"""By which a majority of many samples may come out above 1."""


def read_entry_rows(content: bytes, limits: Limits = LIMITS) -> list[ResultRow]:
    """Parse rows.jsonl; each thing is measured once.

    Raises:
        Fault: a line that is no result row, or a second one of the same thing.
    """
    *lines, rest = content.split(b"\n")
    if rest:
        raise Fault(f"{ROWS}: its last line is cut off")
    rows, seen = [], set()
    for number, line in enumerate(lines, start=1):
        where = f"{ROWS}:{number}"
        if len(line) > limits.json_bytes:
            raise Fault(f"{where}: more than {limits.json_bytes} bytes")
        try:
            row = ResultRow.model_validate(parse_json(where, line, limits))
        except ValidationError as error:
            problem = error.errors()[0]
            raise Fault(f"{where}: {'.'.join(map(str, problem['loc']))}: {shown(problem['msg'])}") from None
        if len(row.versions) > MOST_VERSIONS:
            raise Fault(f"{where}: more than {MOST_VERSIONS} versions")
        identity = tuple(getattr(row, name) for name in IDENTITY)
        if identity in seen:
            raise Fault(f"{where}: a second row of {shown(identity)}")
        seen.add(identity)
        rows.append(row)
    return rows


def weights_digest(weights_of_step: dict[int, str]) -> str:
    """Return the sha256 that stands for all checkpoints of a run."""
    return digest_of({str(step): weights for step, weights in weights_of_step.items()})


def digest_of(value: Any) -> str:
    """Return the sha256 of sorted JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def run_weights(rows: Iterable[ResultRow]) -> dict[tuple[str, int], dict[int, str]]:
    """Return (arm, seed) -> step -> weights of every trained checkpoint."""
    found: dict[tuple[str, int], dict[int, str]] = defaultdict(dict)
    for row in rows:
        if row.seed is not None:
            found[row.arm, row.seed][row.step] = row.weights_hash
    return dict(found)


def trained_weights(rows: Iterable[ResultRow]) -> set[str]:
    """Return the weights of every trained checkpoint that was measured; the untrained policy is shared."""
    return {row.weights_hash for row in rows if row.seed is not None and not row.missing}


def unmeasured(rows: Iterable[ResultRow]) -> list[str]:
    """Return what the suite asks for and the entry has no value of, one line for each task and split."""
    found = {(row.task, row.split): row.missing for row in rows if row.missing}
    return [
        f"{shown(task)} {split} is not measured: {shown(why)}" for (task, split), why in sorted(found.items())
    ]


def declaration_faults(entry: Entry, rows: Sequence[ResultRow], files: Iterable[str]) -> list[str]:
    """Return everything in which entry.json, rows.jsonl and the names of the files disagree."""
    faults = list(_declared(entry))
    return faults or [*_runs(entry, rows), *_complete(entry, rows), *_stray(rows, files)]


def _declared(entry: Entry) -> Iterator[str]:
    suite = entry.suite
    if entry.suite_hash != digest_of(suite):
        yield "entry.json: suite_hash is not the sha256 of the suite that stands there"
    if suite["kind"] != "real":
        yield "entry.json: a smoke suite measures nothing; only real ones stand on the board"
    named = [one.arm for one in entry.arms]
    if sorted(named) != sorted(suite["arms"]) or len(set(named)) != len(named):
        yield f"entry.json: arms are {shown(named)}, the suite declares {shown(suite['arms'])}"
    if suite["baseline"] not in suite["arms"]:
        yield f"entry.json: baseline {shown(suite['baseline'])} is none of the arms"
    runs = [(one.arm, one.seed) for one in entry.runs]
    for run in sorted({run for run in runs if runs.count(run) > 1}):
        yield f"entry.json: arm {shown(run[0])} seed {run[1]} is declared twice; seeds are unique"
    promised = {(arm, seed) for arm in suite["arms"] for seed in suite["seeds"]}
    for arm, seed in sorted(promised ^ set(runs)):
        where = "suite" if (arm, seed) in promised else "runs"
        yield (
            f"entry.json: arm {shown(arm)} seed {shown(seed)} is only in its {where}; every declared run "
            f"counts"
        )


def _runs(entry: Entry, rows: Sequence[ResultRow]) -> Iterator[str]:
    weights = run_weights(rows)
    declared = {(one.arm, one.seed): one for one in entry.runs}
    for arm, seed in sorted(weights.keys() - declared.keys()):
        yield f"{ROWS}: arm {shown(arm)} seed {seed} is not declared"
    owner: dict[tuple[str, str], int] = {}
    for (arm, seed), run in declared.items():
        steps = weights.get((arm, seed))
        if steps is None:
            yield f"{ROWS}: no rows of arm {shown(arm)} seed {seed}, which is declared"
            continue
        if run.weights != weights_digest(steps):
            yield f"entry.json: the weights of arm {shown(arm)} seed {seed} are not those of its rows"
        first = owner.setdefault((arm, steps[max(steps)]), seed)
        if first != seed:
            yield (
                f"{ROWS}: arm {shown(arm)} ends with the same weights for seeds {first} and {seed}: one "
                f"run twice"
            )
    yield from _mixed(declared, weights, rows)
    seconds, tokens = training_totals(rows)
    if tokens != entry.provenance.train_tokens:
        yield f"entry.json: train_tokens is {entry.provenance.train_tokens}, the rows sum up to {tokens}"
    if abs(seconds - entry.provenance.train_seconds) > 0.01:
        yield f"entry.json: train_seconds is {entry.provenance.train_seconds}, the rows sum up to {seconds}"


def _mixed(
    declared: dict[tuple[str, int], DeclaredRun],
    weights: dict[tuple[str, int], dict[int, str]],
    rows: Sequence[ResultRow],
) -> Iterator[str]:
    """Yield the first row that does not belong to the one run that its arm and seed name."""
    for row in rows:
        if row.seed is None:
            continue
        where = f"{shown(row.arm)} seed {row.seed}"
        if weights[row.arm, row.seed][row.step] != row.weights_hash:
            yield f"{ROWS}: rows of {where} step {row.step} name different weights"
            return
        known = declared.get((row.arm, row.seed))
        if known and known.config_hash != row.config_hash:
            yield f"{ROWS}: arm {where} was trained with another config_hash than declared"
            return


def training_totals(rows: Iterable[ResultRow]) -> tuple[float, int]:
    """Return (seconds, completion tokens) of training, all runs together."""
    last: dict[tuple[str, int], ResultRow] = {}
    for row in rows:
        if row.seed is not None and row.step >= last.get((row.arm, row.seed), row).step:
            last[row.arm, row.seed] = row
    return round(sum(row.train_s for row in last.values()), 3), sum(row.tokens for row in last.values())


def _complete(entry: Entry, rows: Sequence[ResultRow]) -> Iterator[str]:
    """Yield what is missing of (untrained policy and runs) x steps x tasks x splits x metrics."""
    foreign = next((line for row in rows if (line := _foreign(entry, row) or _impossible(row))), "")
    if foreign:
        yield foreign
        return
    if len(rows) != entry.counts.rows:
        yield f"entry.json: counts {entry.counts.rows} rows, {ROWS} has {len(rows)}"
    if {row.task for row in rows} != set(entry.suite["tasks"]):
        yield f"{ROWS}: its tasks are not those of the suite"
    shapes: dict[tuple[str, Split], int] = {(row.task, row.split): row.n_samples for row in rows}
    for row in rows:
        if row.n_samples != shapes[row.task, row.split]:
            yield f"{ROWS}: {shown(row.task)} {row.split} has rows of different numbers of samples"
            return
    held = {(row.arm, row.seed, row.step, row.task, row.split, row.metric) for row in rows}
    for place, (task, split, metric) in product(_places(entry, rows), _asked(shapes)):
        if (*place, task, split, metric) not in held:
            arm, seed, step = place
            yield (
                f"{ROWS}: no {metric} of {shown(arm)} seed {seed} step {step} on {shown(task)} {split}; "
                "a declared run is reported whole"
            )
            return


def _places(entry: Entry, rows: Sequence[ResultRow]) -> list[tuple[str, int | None, int]]:
    steps = sorted({step for weights in run_weights(rows).values() for step in weights})
    return [(BASE, None, 0), *((run.arm, run.seed, step) for run in entry.runs for step in steps)]


def _asked(shapes: dict[tuple[str, Split], int]) -> list[tuple[str, Split, str]]:
    return [
        (task, split, metric)
        for (task, split), samples in sorted(shapes.items())
        for metric in metric_names(samples)
    ]


def _foreign(entry: Entry, row: ResultRow) -> str:
    """Say why a row is not one of this entry, or nothing."""
    if (row.suite, row.kind, row.model) != (entry.suite["name"], "real", entry.base_model):
        return f"{ROWS}: suite {shown(row.suite)}, {row.kind}, model {shown(row.model)}: not of this entry"
    if (row.arm == BASE) != (row.seed is None) or (row.arm == BASE) != (row.step == 0) or row.step < 0:
        return (
            f"{ROWS}: {shown(row.arm)} seed {row.seed} step {row.step}: only the untrained policy has no seed"
        )
    if not 1 <= row.n_samples <= MOST_SAMPLES:
        return f"{ROWS}: {row.n_samples} samples per item, want 1 to {MOST_SAMPLES}"
    return ""


def _impossible(row: ResultRow) -> str:
    """Say which numbers of a row no measurement gives, or nothing; `ResultRow` has refused negative ones."""
    where = f"{ROWS}: {shown(row.arm)} seed {row.seed} step {row.step} {shown(row.task)} {row.split} "
    where += shown(row.metric)
    if row.value is not None and not (0 <= row.value <= 1 + ROUNDING and row.n_items):
        return f"{where}: value is {row.value} over {row.n_items} items, want a fraction in [0, 1] of some"
    if row.n_asked is not None and not row.n_items <= row.n_asked <= row.n_items + row.n_ungraded:
        return f"{where}: n_asked is {row.n_asked}, want {row.n_items} to {row.n_items + row.n_ungraded}"
    # Of accuracy an item is left out only where none of its completions was graded; other metrics may leave
    # one out for a single ungraded completion, so they lack n_ungraded items at most.
    lacks = 0 if row.metric == "accuracy" else row.n_ungraded
    most = (row.n_items + lacks) * row.n_samples
    silent = row.n_unparsed + row.n_truncated
    if silent > most:
        return f"{where}: {silent} completions without an answer or truncated, of at most {most}"
    if (row.n_loose or 0) > most + row.n_ungraded:
        return f"{where}: n_loose is {row.n_loose} of at most {most + row.n_ungraded} completions"
    return ""


def _stray(rows: Sequence[ResultRow], files: Iterable[str]) -> Iterator[str]:
    want = {texts_file(row.task, row.split) for row in rows if not row.missing}
    have = {name for name in files if name.startswith("samples/")}
    for name in sorted(want - have):
        yield f"{shown(name)}: missing; every number needs its texts"
    for name in sorted(have - want):
        yield f"{name}: no row rests on it"
