"""Is an entry whole, complete and consistent, and do its texts give its numbers again?"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmark.board.entry import Entry, read_entry
from benchmark.board.reading import (
    LIMITS,
    ROWS,
    Fault,
    Limits,
    check_sums,
    list_files,
    parse_json,
    read_bytes,
    shown,
)
from benchmark.board.rescore import rescore, rows_of, split_of, texts_file
from benchmark.board.schedule import schedule_faults
from benchmark.board.texts import NONE, Texts, unpack_texts
from benchmark.rows import IDENTITY, ResultRow
from benchmark.suite import BASE
from tasks.catalog import items_digest, load_problems, task_version
from tasks.errors import MissingSet, UserError
from tasks.grading import GRADER_VERSION
from tasks.sampled import metric_names
from tasks.schema import Split


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An entry whose files are whole and whose declarations hold together; its texts have not been opened."""

    folder: Path
    entry: Entry
    rows: list[ResultRow]
    files: dict[str, int]

    @property
    def digest(self) -> str:
        """sha256 of SHA256SUMS: names the content of the whole entry."""
        return hashlib.sha256((self.folder / "SHA256SUMS").read_bytes()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What `check_entry` found."""

    faults: list[str]
    notes: list[str]
    """What could not be looked at, and why: then the entry stays declared."""
    rescored: int = 0
    """Rows whose every number came out again."""


def open_entry(folder: Path, limits: Limits = LIMITS) -> Opened:
    """Read an entry without its texts.

    Raises:
        Fault: it is not whole or does not hold together; a message may have several lines, one a fault.
    """
    files = list_files(folder, limits)
    faults = check_sums(folder, files, limits)
    if faults:
        raise Fault("\n".join(faults))
    entry = read_entry(folder, limits)
    rows = read_entry_rows(read_bytes(folder, ROWS, limits.file_bytes), limits)
    opened = Opened(folder=folder, entry=entry, rows=rows, files=files)
    faults = [*_declared(entry), *_runs(entry, rows), *_complete(entry, rows), *schedule_faults(entry, rows)]
    if faults:
        raise Fault("\n".join(faults))
    return opened


def check_entry(
    folder: Path, limits: Limits = LIMITS, report: Callable[[str], None] = lambda line: None
) -> Verdict:
    """Check everything about an entry that needs no model; every number is computed again from its texts."""
    try:
        opened = open_entry(folder, limits)
    except Fault as fault:
        return Verdict(faults=str(fault).split("\n"), notes=[])
    faults, notes, rescored = [], [], 0
    units, samples = 0, 0
    for name in (name for name in opened.files if name.startswith("samples/")):
        task, split = split_of(name)
        try:
            texts = unpack_texts(name, read_bytes(folder, name, limits.file_bytes), limits)
            rows = rows_of(opened.rows, task, split)
            report(f"{name}: {len(rows)} rows, {sum(len(line.answers) for line in texts.lines)} answers")
            found, why_not = check_texts(name, texts, rows)
            if not found and not why_not:
                found = list(rescore(task, split, texts, rows))  # type: ignore[arg-type]  # check_texts looked
                rescored += 0 if found else len(rows)
        except Fault as fault:
            found, why_not = [str(fault)], ""
        else:
            units += len(texts.units)
            samples += sum(at != NONE for line in texts.lines for at in line.given)
        faults += found
        notes += [why_not] if why_not else []
    promised = opened.entry.counts
    for what, theirs, ours in (("units", promised.units, units), ("samples", promised.samples, samples)):
        if not faults and theirs != ours:
            faults.append(f"entry.json: counts {theirs} {what}, its files hold {ours}")
    return Verdict(faults=faults, notes=notes, rescored=rescored)


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


def _declared(entry: Entry) -> Iterator[str]:
    suite = entry.suite
    for key, kind in (("name", str), ("arms", list), ("seeds", list), ("tasks", list), ("baseline", str)):
        if not isinstance(suite.get(key), kind):
            yield f"entry.json: suite.{key} is missing or no {kind.__name__}"
            return
    if entry.suite_hash != digest_of(suite):
        yield "entry.json: suite_hash is not the sha256 of the suite that stands there"
    if suite.get("kind") != "real":
        yield "entry.json: a smoke suite measures nothing; only real ones stand on the board"
    named = [one.arm for one in entry.arms]
    if sorted(named) != sorted(map(str, suite["arms"])) or len(set(named)) != len(named):
        yield f"entry.json: arms are {shown(named)}, the suite declares {shown(suite['arms'])}"
    if suite["baseline"] not in suite["arms"]:
        yield f"entry.json: baseline {shown(suite['baseline'])} is none of the arms"
    runs = [(one.arm, one.seed) for one in entry.runs]
    for run in sorted({run for run in runs if runs.count(run) > 1}):
        yield f"entry.json: arm {shown(run[0])} seed {run[1]} is declared twice; seeds are unique"
    promised = {(arm, seed) for arm in map(str, suite["arms"]) for seed in suite["seeds"]}
    for arm, seed in sorted(promised ^ set(runs), key=str):
        where = "suite" if (arm, seed) in promised else "runs"
        yield f"entry.json: arm {shown(arm)} seed {shown(seed)} is only in its {where}; every declared run counts"


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
            yield f"{ROWS}: arm {shown(arm)} ends with the same weights for seeds {first} and {seed}: one run twice"
    for row in rows:
        known = declared.get((row.arm, row.seed if row.seed is not None else -1))
        if known and known.config_hash != row.config_hash:
            yield f"{ROWS}: arm {shown(row.arm)} seed {row.seed} was trained with another config_hash than declared"
            return
    seconds, tokens = training_totals(rows)
    if tokens != entry.provenance.train_tokens:
        yield f"entry.json: train_tokens is {entry.provenance.train_tokens}, the rows sum up to {tokens}"
    if abs(seconds - entry.provenance.train_seconds) > 0.01:
        yield f"entry.json: train_seconds is {entry.provenance.train_seconds}, the rows sum up to {seconds}"


def training_totals(rows: Iterable[ResultRow]) -> tuple[float, int]:
    """Return (seconds, completion tokens) of training, all runs together."""
    last: dict[tuple[str, int], ResultRow] = {}
    for row in rows:
        if row.seed is not None and row.step >= last.get((row.arm, row.seed), row).step:
            last[row.arm, row.seed] = row
    return round(sum(row.train_s for row in last.values()), 3), sum(row.tokens for row in last.values())


def _complete(entry: Entry, rows: Sequence[ResultRow]) -> Iterator[str]:
    """Yield what is missing of (untrained policy and runs) x steps x tasks x splits x metrics."""
    for row in rows:
        if (row.suite, row.kind, row.model) != (entry.suite["name"], "real", entry.base_model):
            yield f"{ROWS}: suite {shown(row.suite)}, {row.kind}, model {shown(row.model)}: not of this entry"
            return
        if (row.arm == BASE) != (row.seed is None) or (row.arm == BASE) != (row.step == 0):
            yield f"{ROWS}: arm {shown(row.arm)} seed {row.seed} step {row.step}: only the untrained policy has no seed"
            return
    if len(rows) != entry.counts.rows:
        yield f"entry.json: counts {entry.counts.rows} rows, {ROWS} has {len(rows)}"
    if {row.task for row in rows} != set(entry.suite["tasks"]):
        yield f"{ROWS}: its tasks are not those of the suite"
    steps = {step for weights in run_weights(rows).values() for step in weights}
    places = [(BASE, None, 0), *((run.arm, run.seed, step) for run in entry.runs for step in sorted(steps))]
    held = {(row.arm, row.seed, row.step, row.task, row.split, row.metric) for row in rows}
    shapes = {(row.task, row.split): row.n_samples for row in rows}
    for (task, split), samples in sorted(shapes.items()):
        for metric in metric_names(min(samples, 1 << 20)):
            for arm, seed, step in places:
                if (arm, seed, step, task, split, metric) not in held:
                    yield (f"{ROWS}: no {shown(metric)} of {shown(arm)} seed {seed} step {step} on {shown(task)} {split};"
                           " a declared run is reported whole")  # fmt: skip
                    return
    for row in rows:
        if row.n_samples != shapes[row.task, row.split]:
            yield f"{ROWS}: {shown(row.task)} {row.split} has rows of {row.n_samples} and of other numbers of samples"
            return


def check_texts(name: str, texts: Texts, rows: Sequence[ResultRow]) -> tuple[list[str], str]:
    """Return (faults, why its numbers cannot be computed again) of a file of texts and its rows."""
    task, split = split_of(name)
    keys = {row.sample_key for row in rows}
    if not rows:
        return [f"{name}: no row rests on it"], ""
    if keys != texts.units.keys():
        return [f"{name}: its units are not those that the rows name ({len(keys ^ texts.units.keys())} differ)"], ""
    faults = [*_requests(name, texts, rows)]
    if faults:
        return faults, ""
    versions = {row.task_version for row in rows}
    try:
        ours = {task_version(task)}
        if versions != ours:
            return [], f"{name}: scored as task version {shown(min(versions))}, this checkout has {min(ours)}"
        problems = load_problems(task, split)  # type: ignore[arg-type]  # unknown ones raise
    except MissingSet as error:
        return [], f"{name}: not computed again, {error}"
    except UserError as error:
        return [f"{name}: {shown(error)}"], ""
    if {head.request.get("items") for head in texts.units.values()} != {_digest(task, split)}:
        return [f"{name}: was asked with other items than this checkout has for {task} {split}"], ""
    return [*_samples(name, texts, {problem.id for problem in problems}, rows[0].n_samples)], ""


def _digest(task: str, split: Any) -> str:
    found: Split = split
    return items_digest(task, found)


def _requests(name: str, texts: Texts, rows: Sequence[ResultRow]) -> Iterator[str]:
    """The row says what was asked; the unit's key is the hash of what was asked."""
    for row in rows:
        request = texts.units[row.sample_key].request
        claims = {"weights": row.weights_hash, "task": row.task, "split": row.split, "engine": row.engine}
        claims |= {key: getattr(row, key) for key in ("temperature", "top_p", "max_new_tokens")}
        for key, value in claims.items():
            if request.get(key) != value:
                yield f"{name}: {shown(row.arm)} seed {row.seed} step {row.step}: {key} is {shown(value)}, asked was {shown(request.get(key))}"
                return


def _samples(name: str, texts: Texts, items: set[str], samples: int) -> Iterator[str]:
    """Missing is not wrong: every unit has exactly its samples of every item, each with a seed of its own."""
    want = {(item, index) for item in items for index in range(samples)}
    if len(want) != len(texts.lines) or want != {(line.item, line.index) for line in texts.lines}:
        yield f"{name}: {len(texts.lines)} lines do not cover {len(items)} items x {samples} samples"
        return
    seeds: dict[tuple[str, int], set[int]] = defaultdict(set)
    for line in texts.lines:
        for unit, which in enumerate(line.given):
            if which == NONE:
                yield f"{name}: a unit has no sample {line.index} of {shown(line.item)}"
                return
            seeds[line.item, unit].add(line.answers[which].seed)
    if any(len(found) != samples for found in seeds.values()):
        yield f"{name}: two samples of one item were drawn with one seed"
        return
    if any(set(line.given) != set(range(len(line.answers))) for line in texts.lines):
        yield f"{name}: an answer that no unit gave"


def stray_texts(entry: Entry, rows: Sequence[ResultRow], files: Iterable[str]) -> Iterator[str]:
    """Yield files of texts that are missing or that no row rests on."""
    del entry
    want = {texts_file(row.task, row.split) for row in rows if not row.missing}
    have = {name for name in files if name.startswith("samples/")}
    for name in sorted(want - have):
        yield f"{shown(name)}: missing; every number needs its texts"
    for name in sorted(have - want):
        yield f"{name}: no row rests on it"


def grader_note(entry: Entry) -> str:
    """Say when an entry was graded by another version; its task versions then differ as well."""
    if entry.grader_version == GRADER_VERSION:
        return ""
    return f"entry.json: graded by version {shown(entry.grader_version)}, this checkout grades by {GRADER_VERSION}"
