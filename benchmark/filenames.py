"""Names of tasks and arms as names of files."""

from __future__ import annotations

import hashlib
import re

LONGEST = 80


def file_stem(*parts: str) -> str:
    """Return a file name without anything that a folder or a shell reads; two names never share one.

    >>> file_stem("curve", "add2"), file_stem("curve", "../a b")
    ('curve_add2', 'curve_.._a_b_2c2c79')
    """
    return "_".join(_safe(part) for part in parts)


def _safe(name: str) -> str:
    kept = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:LONGEST]
    return kept if kept == name else f"{kept}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"
