"""Published sets on this machine: fetched once into the data folder, read from there alone.

$LAMBDA_GRPO_BENCH_DATA (default ~/.cache/lambda-grpo-bench/data) holds NAME.jsonl with question and gold, and
NAME.json that says where it came from and the sha256 of the items.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from tasks.catalog import Dataset, datasets
from tasks.errors import UserError, closest
from tasks.files import write_json, write_text
from tasks.grading import last_box
from tasks.provenance import utc_now
from tasks.schema import Problem, Split


def data_folder() -> Path:
    """Return where fetched sets lie."""
    named = os.environ.get("LAMBDA_GRPO_BENCH_DATA")
    return Path(named) if named else Path.home() / ".cache" / "lambda-grpo-bench" / "data"


def fetch(name: str, source: Path | None = None) -> Path:
    """Bring a published set to the data folder.

    Args:
        name: a table of datasets.toml.
        source: a local folder or file with the set's own columns (parquet, JSON lines or CSV); None asks the
        hub.

    Returns:
        The file with the items.

    Raises:
        UserError: there is no such set, it cannot be loaded, or a column is missing.
    """
    if name not in datasets():
        raise UserError(f"no published set {name!r}; {closest(name, datasets())}")
    dataset = datasets()[name]
    columns = load_columns(dataset, source)
    lines = [
        json.dumps({"question": question, "gold": reference_answer(gold)}, ensure_ascii=False)
        for question, gold in zip(*columns, strict=True)
    ]
    path = data_folder() / f"{name}.jsonl"
    text = "".join(line + "\n" for line in lines)
    write_text(path, text)
    record = {
        "hub": dataset.hub,
        "revision": dataset.revision,
        "source": str(source) if source else "hub",
        "items": len(lines),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "fetched_at": utc_now(),
    }
    write_json(path.with_suffix(".json"), record)
    return path


def load_columns(dataset: Dataset, source: Path | None) -> tuple[list[str], list[str]]:
    """Load the questions and reference answers of a set as they were published."""
    from datasets import load_dataset  # loads pyarrow and pandas; nothing but fetching needs it

    where = str(source) if source else dataset.hub
    try:
        if source is not None and source.is_file():
            kind = {".parquet": "parquet", ".csv": "csv"}.get(source.suffix, "json")
            table = load_dataset(kind, data_files=where, split="train")
        else:
            table = load_dataset(where, revision=None if source else dataset.revision, split="train")
    except Exception as error:  # noqa: BLE001  (the library raises types of many packages)
        raise UserError(
            f"{where}: cannot be loaded ({type(error).__name__}: {str(error).splitlines()[0][:200]}); "
            "check the network, or give a local copy with --from"
        ) from None
    missing = [column for column in (dataset.question, dataset.gold) if column not in table.column_names]
    if missing:
        raise UserError(f"{where}: has no column {missing[0]!r}, only {', '.join(table.column_names)}")
    return list(table[dataset.question]), list(table[dataset.gold])


def reference_answer(text: str) -> str:
    """Return the last complete box of a reference solution, or the whole of it, without math delimiters."""
    box = last_box(text)
    return (text if box is None else box).strip().strip("$").strip()


def read_split(name: str, dataset: Dataset, split: Split) -> list[Problem]:
    """Read a split of a fetched set; which items are held out depends on the set's own seed alone.

    Raises:
        UserError: the set was not fetched, its items were changed, or it has no such split.
    """
    path = data_folder() / f"{name}.jsonl"
    remedy = f"run `python -m tasks fetch {name}`, or with `--from FOLDER` for a local copy"
    if split == "test":
        raise UserError(f"{name!r} has no test split: it is training data; use train or validation")
    try:
        text = path.read_text(encoding="utf-8")
        digest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["sha256"]
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: the set {name!r} is not on this machine; {remedy}") from None
    except (ValueError, KeyError):
        raise UserError(f"{path.with_suffix('.json')}: damaged; {remedy}") from None
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        raise UserError(f"{path}: its content is not what was fetched ({digest[:12]}); {remedy}")
    rows = [json.loads(line) for line in text.splitlines()]
    held = np.random.default_rng(dataset.validation_seed).permutation(len(rows))[: dataset.validation]
    wanted = set(held.tolist())
    return [
        Problem(id=f"{name}/{at:05d}", question=row["question"], gold=row["gold"])
        for at, row in enumerate(rows)
        if (at in wanted) == (split == "validation")
    ]
