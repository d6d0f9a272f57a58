"""A results folder into an entry: rows, texts, declarations, sums. What is there stays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.board.declared import digest_of, run_weights, training_totals, weights_digest
from benchmark.board.entry import ArmLabel, Counts, DeclaredRun, Entry, Provenance
from benchmark.board.reading import ENTRY, ROWS, SUMS
from benchmark.board.texts import UnitHead, pack_texts, rows_of, texts_file
from benchmark.rows import ResultRow, latest_rows, read_rows
from benchmark.scoring.score import standing
from benchmark.store import open_store
from benchmark.suite import Suite
from tasks.errors import UserError, closest
from tasks.files import new_folder
from tasks.grading import GRADER_VERSION
from tasks.settings import build_settings


@dataclass(frozen=True, kw_only=True)
class Words:
    """What only its author can say about an entry."""

    id: str
    title: str
    author: str
    labels: dict[str, str]
    """Arm -> name of the algorithm; an arm without one is called by its own name."""
    hardware: str
    tuning_budget: str
    cost: str
    kind: str
    supersedes: list[str]
    refutes: list[str]


def pack(suite: Suite, out: Path, entries: Path, words: Words) -> Path:
    """Make an entry from the rows and the texts of a finished suite; returns its folder.

    Raises:
        UserError: the id is taken, or rows or texts are missing.
    """
    folder = entries / words.id
    if folder.exists():
        raise UserError(
            f"{folder}: is there already, and entries are never changed; choose another --id, "
            f"and --supersedes {words.id} if it takes its place"
        )
    rows = _rows(suite, out)
    files = _texts(out, rows)
    counts = Counts(rows=len(rows), units=sum(one[1] for one in files.values()),
                    samples=sum(one[2] for one in files.values()))  # fmt: skip
    entry = _entry(suite, rows, counts, words)
    content = {name: data for name, (data, _, _) in files.items()}
    content[ENTRY] = (json.dumps(entry.model_dump(mode="json"), indent=1, sort_keys=True) + "\n").encode()
    content[ROWS] = b"".join(
        json.dumps(row.model_dump(mode="json"), sort_keys=True).encode() + b"\n" for row in rows
    )
    sums = "".join(f"{hashlib.sha256(content[name]).hexdigest()}  {name}\n" for name in sorted(content))
    content[SUMS] = sums.encode()
    with new_folder(folder) as temporary:
        for name, data in content.items():
            (temporary / name).parent.mkdir(exist_ok=True)
            (temporary / name).write_bytes(data)
    return folder


def _rows(suite: Suite, out: Path) -> list[ResultRow]:
    """Return the latest row of every measured thing, in one order."""
    if suite.kind != "real":
        raise UserError(f"suite {suite.name!r} is a smoke suite, which measures nothing; pack a real one")
    latest = [row for row in latest_rows(read_rows(out / "rows.jsonl")) if row.suite == suite.name]
    if not latest:
        raise UserError(f"{out / 'rows.jsonl'}: no rows of suite {suite.name!r}; run it first")
    return sorted(latest, key=lambda row: (row.task, row.split, row.arm, row.seed or 0, row.step, row.metric))


def _texts(out: Path, rows: Sequence[ResultRow]) -> dict[str, tuple[bytes, int, int]]:
    """Return file name -> (content, units, samples)."""
    store = open_store(out)
    held = set(store.keys())
    files = {}
    for task, split in sorted({(row.task, row.split) for row in rows if not row.missing}):
        wanted = rows_of(rows, task, split)
        keys = list(dict.fromkeys(row.sample_key for row in wanted))
        if missing := [key for key in keys if key not in held]:
            raise UserError(
                f"{out / 'samples'}: no texts of unit {missing[0]}, which rows of {task} {split} rest on; "
                "run the suite again to generate and score them"
            )
        samples = wanted[0].n_samples
        units = []
        for key in keys:
            unit = store.read(key)
            asked = [one for one in standing(out, unit) if one.index < samples]
            units.append((UnitHead(unit.request, _said(unit.effective)), asked))
        content = pack_texts(units)
        files[texts_file(task, split)] = (content, len(units), sum(len(asked) for _, asked in units))
    return files


def _said(effective: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the different things the engine says it did; how long each block took is left out."""
    distinct = {json.dumps({key: value for key, value in one.items() if key != "seconds"}, sort_keys=True)
                for one in effective}  # fmt: skip
    return [json.loads(one) for one in sorted(distinct)]


def _trained_on(rows: Sequence[ResultRow]) -> str:
    """Return the devices of the runs; of rows that do not say, those that generated their texts."""
    named = {row.train_device or row.device for row in rows if row.seed is not None}
    return ", ".join(sorted(named - {""}))


def _entry(suite: Suite, rows: Sequence[ResultRow], counts: Counts, words: Words) -> Entry:
    unknown = sorted(words.labels.keys() - set(suite.arms))
    if unknown:
        raise UserError(f"--label {unknown[0]}=...: there is no such arm; {closest(unknown[0], suite.arms)}")
    weights = run_weights(rows)
    config_of = {(row.arm, row.seed): row.config_hash for row in rows}
    for arm in suite.arms:
        for seed in suite.seeds:
            if (arm, seed) not in weights:
                raise UserError(
                    f"no rows of {arm} seed {seed}, which the suite declares; run the suite to the end"
                )
    seconds, tokens = training_totals(rows)
    resolved = suite.model_dump(mode="json")
    versions: dict[str, set[str]] = {}
    for row in rows:
        for name, version in row.versions.items():
            versions.setdefault(name, set()).add(version)
    provenance = {
        "git_sha": ", ".join(sorted({row.git_sha for row in rows})),
        "git_dirty": any(row.git_dirty for row in rows),
        "versions": {name: ", ".join(sorted(found)) for name, found in sorted(versions.items())},
        "hardware": words.hardware or _trained_on(rows),
        "tuning_budget": words.tuning_budget,
        "train_seconds": seconds,
        "train_tokens": tokens,
        "cost": words.cost,
    }
    return build_settings(
        Entry,
        {
            "id": words.id,
            "title": words.title or suite.summary,
            "author": words.author,
            "kind": words.kind,
            "supersedes": words.supersedes,
            "refutes": words.refutes,
            "base_model": rows[0].model,
            "arms": [ArmLabel(arm=arm, label=words.labels.get(arm, arm)) for arm in suite.arms],
            "suite": resolved,
            "suite_hash": digest_of(resolved),
            "endpoints_hash": suite.endpoints.digest(),
            "grader_version": GRADER_VERSION,
            "runs": [
                DeclaredRun(arm=arm, seed=seed, config_hash=config_of[arm, seed],
                            weights=weights_digest(weights[arm, seed]))
                for arm in suite.arms for seed in suite.seeds
            ],
            "provenance": Provenance.model_validate(provenance),
            "counts": counts,
        },
        source="the entry",
    )  # fmt: skip
