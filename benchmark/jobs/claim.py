"""Whose folder is it? A results folder belongs to one suite, which may grow: more arms, seeds, tasks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from benchmark.suite import Suite
from tasks.errors import UserError
from tasks.files import write_json
from tasks.settings import check_free, claimed, refuse_changes

CLAIM, ENGINE = "suite.json", "engine.json"
GROWING = ("arms", "seeds", "tasks")
"""Lists that may get longer: what is there stays what it was."""
FREE = (
    "summary",
    "baseline",
    "samples",
    "engine",
    "max_sequences",
    "retention",
    "endpoints",
)
"""Keys that change no text and no run that is there: texts are stored by what decides them."""


def check_claim(out: Path, suite: Suite) -> bool:
    """Check that a suite may work in a folder; nothing is written.

    Returns:
        Whether the folder belongs to the suite already.

    Raises:
        UserError: OUT belongs to another suite, holds something else, is a file or cannot be made.
    """
    path = out / CLAIM
    if path.exists():
        _compare(out, _defaults() | claimed(path), suite.model_dump(mode="json"))
        return True
    check_free(out, CLAIM)
    above = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not above.is_dir():
        raise UserError(f"{out}: cannot be made (Not a directory); choose another --out")
    return False


def claim(out: Path, suite: Suite) -> bool:
    """Write down that the folder is this suite's; call it with the folder's lock held and all else checked.

    Returns:
        Whether this is new.
    """
    known = check_claim(out, suite)
    config = suite.model_dump(mode="json")
    if not known or claimed(out / CLAIM) != config:
        write_json(out / CLAIM, {"config": config, "config_hash": suite.digest()})
    return not known


def drop_claim(out: Path) -> None:
    """Take a new claim back when nothing was done: the folder is as free as it was."""
    if not any((out / "runs").glob("*/*/*")) and not any((out / "samples").glob("*")):
        for name in (CLAIM, ENGINE):
            (out / name).unlink(missing_ok=True)
        for name in ("logs", "leases"):
            shutil.rmtree(out / name, ignore_errors=True)


def _compare(out: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    keys = theirs.keys() | ours.keys()
    fixed = (key for key in keys if not _grows(key, theirs.get(key), ours.get(key)))
    refuse_changes(out, theirs, ours, fixed)


def _defaults() -> dict[str, Any]:
    """Return what a suite is that says nothing: folders are older than some keys."""
    fields = Suite.model_fields.items()
    return {
        name: field.get_default(call_default_factory=True)
        for name, field in fields
        if not field.is_required()
    }


def _grows(key: str, theirs: Any, ours: Any) -> bool:
    if key in FREE:
        return True
    return key in GROWING and isinstance(theirs, list) and set(theirs) <= set(ours)


def record_engine(out: Path, engine: str) -> None:
    """Note which engine makes this folder's texts, for commands that need no engine and have to know."""
    if recorded_engine(out) != engine:
        write_json(out / ENGINE, {"engine": engine})


def recorded_engine(out: Path) -> str | None:
    """Return which engine made the texts of a folder; None where nothing says so."""
    try:
        engine = json.loads((out / ENGINE).read_text(encoding="utf-8"))["engine"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return engine if engine in ("transformers", "vllm") else None
