"""Lines of a shard: samples, and the sealed lines that say what follows or that nothing does."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from tasks.engines import Finish

FORMAT = 1
"""Of a block; a reader refuses every other."""

Kind = Literal["head", "end"]
SEALED = re.compile(rb'\{"(head|end)":(\{.*\}),"sha256":"([0-9a-f]{64})"\}\n')


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One completion as the engine gave it."""

    item: str
    """`Problem.id`."""
    index: int
    """0, 1, 2, ... within the item."""
    text: str
    tokens: int
    """End-of-sequence token included."""
    finish: Finish
    seed: int
    prompt_hash: str
    """sha256 of the prompt text, chat template included."""


def sample_key(request: dict[str, Any]) -> str:
    """Return the name of a unit: the first 24 digits of the sha256 of its sorted request."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:24]


def dump(value: Any) -> bytes:
    """Return the one way in which a value is written.

    >>> dump({"b": "λ", "a": 1})
    b'{"a":1,"b":"\\\\u03bb"}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sha256(data: bytes) -> str:
    """Return the digest of some bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sample_line(sample: Sample) -> bytes:
    """Return a sample as its line."""
    return dump({**vars(sample), "finish": str(sample.finish)}) + b"\n"


def parse_lines(body: bytes) -> list[dict[str, Any]]:
    """Return the values of the lines of a block, parsed at once: a third of the time of one by one.

    A line holds no newline of its own, so each one ends a value.

    >>> parse_lines(b'{"a":1}\\n{"a":2}\\n')
    [{'a': 1}, {'a': 2}]
    """
    values: list[dict[str, Any]] = json.loads(b"[" + body.removesuffix(b"\n").replace(b"\n", b",") + b"]")
    return values


def read_sample(line: dict[str, Any]) -> Sample:
    """Return the sample of a parsed line.

    Raises:
        TypeError, KeyError, ValueError: it is not one of this format.
    """
    return Sample(**{**line, "finish": Finish(line["finish"])})


def seal(kind: Kind, value: dict[str, Any]) -> bytes:
    """Return a line that carries the checksum of its own content."""
    text = dump(value)
    return b'{"%s":%s,"sha256":"%s"}\n' % (kind.encode(), text, sha256(text).encode())


def unseal(line: bytes) -> tuple[str, dict[str, Any]] | None:
    """Return (kind, value) of a sealed line, or None if it is not one, byte for byte.

    >>> unseal(seal("end", {"blocks": 0}))
    ('end', {'blocks': 0})
    >>> unseal(seal("end", {"blocks": 0}).replace(b"0}", b"1}"))
    """
    found = SEALED.fullmatch(line)
    if found is None or sha256(found[2]) != found[3].decode():
        return None
    value: dict[str, Any] = json.loads(found[2])
    return found[1].decode(), value


def block_bytes(request: dict[str, Any], effective: dict[str, Any], samples: list[Sample]) -> bytes:
    """Return a whole block, header first."""
    body = b"".join(map(sample_line, samples))
    head = {
        "format": FORMAT,
        "key": sample_key(request),
        "request": request,
        "effective": effective,
        "count": len(samples),
        "bytes": len(body),
        "sha256": sha256(body),
    }
    return seal("head", head) + body
