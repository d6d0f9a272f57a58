"""TOML files into frozen, validated models: one way to read every configuration of the project."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.errors import UserError, closest
from tasks.files import write_json


class Settings(BaseModel):
    """Base of every configuration model: frozen, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )

    def digest(self) -> str:
        """Return the sha256 of the sorted JSON: the `config_hash` of a run."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


S = TypeVar("S", bound=Settings)
Key: TypeAlias = tuple[str, ...]
"""The parts of a dotted key."""


def read_toml(path: Path) -> dict[str, Any]:
    """Parse one TOML file; a missing or malformed file is a `UserError` that names it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the path of a .toml file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML ({error}); mend the file") from None
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}); give the path of a .toml file") from None


def named_file(name: str, folder: Path, what: str) -> Path:
    """Find a shipped file by its bare name ("embedded"), or take a path that ends in .toml as it is."""
    if name.endswith(".toml"):
        return Path(name)
    known = [path.stem for path in folder.glob("*.toml")]
    if name not in known:
        raise UserError(f"{what} {name!r}: there is none of that name; {closest(name, known)}")
    return folder / f"{name}.toml"


def load_settings(model: type[S], path: Path, overrides: Iterable[str] = ()) -> S:
    """Read `path`, apply `key=value` overrides (dots reach into tables), validate.

    Args:
        model: the settings class to build.
        path: a TOML file.
        overrides: strings such as "learning_rate=3e-5" or "train.seeds=[0,1]"; values are TOML, and
            a value that is not TOML is taken as a string.

    Raises:
        UserError: a missing file, bad TOML, an unknown key (the closest key is named) or a bad value.
    """
    raw = read_toml(path)
    given = [apply_override(raw, text) for text in overrides]
    return build_settings(model, raw, source=str(path), given=given)


def claim_folder(out: Path, name: str, settings: Settings) -> None:
    """Make OUT the folder of these settings: write OUT/name, or accept the one that is there if it is equal.

    Raises:
        UserError: OUT belongs to other settings, holds something else, or is a file.
    """
    path = out / name
    ours = settings.model_dump(mode="json")
    if path.exists():
        theirs = claimed(path)
        refuse_changes(out, theirs, ours, theirs.keys() | ours.keys())
        return
    check_free(out, name)
    make_folder(out)
    write_json(path, {"config": ours, "config_hash": settings.digest()})


def claimed(path: Path) -> dict[str, Any]:
    """Return the settings that a folder belongs to, from the file that says so.

    Raises:
        UserError: the file says nothing of the kind.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, TypeError, KeyError):
        config = None
    if not isinstance(config, dict):
        raise UserError(f"{path}: not the configuration of a run; choose another --out")
    return config


def refuse_changes(out: Path, theirs: dict[str, Any], ours: dict[str, Any], keys: Iterable[str]) -> None:
    """Raise a `UserError` that names every one of the keys whose value differs."""
    changed = sorted(key for key in keys if theirs.get(key) != ours.get(key))
    if changed:
        what = ", ".join(f"{key}={theirs.get(key)!r} there, {ours.get(key)!r} here" for key in changed)
        raise UserError(f"{out}: belongs to another configuration ({what}); choose another --out")


def check_free(out: Path, name: str) -> None:
    """Refuse a folder that holds something and no file NAME that says whose it is.

    Raises:
        UserError: it is a file, or not empty.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; choose another --out")
    if out.exists() and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise UserError(f"{out}: is not empty and has no {name}; choose another --out")


def make_folder(out: Path) -> None:
    """Make a folder and those above it.

    Raises:
        UserError: it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be made ({error.strerror}); choose another --out") from None


def apply_override(raw: dict[str, Any], text: str) -> Key:
    """Set one `dotted.key=value` in the raw table; returns the parts of its key."""
    key, separator, value = text.partition("=")
    *parents, leaf = (part.strip() for part in key.split("."))
    if not separator or not all([*parents, leaf]):
        raise UserError(f"--set {text!r}: want key=value, for example --set seed=3")
    table = raw
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise UserError(f"--set {text!r}: {parent!r} is a value, not a table; drop the part after it")
    try:
        table[leaf] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        table[leaf] = value
    return (*parents, leaf)


def build_settings(model: type[S], raw: dict[str, Any], *, source: str, given: Collection[Key] = ()) -> S:
    """Validate a raw table; every problem becomes one line that names key, value and rule.

    Args:
        model: the settings class to build.
        raw: its values.
        source: what a message names as their origin.
        given: keys whose values came from --set instead.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        problems = (_explain(model, problem, source, given) for problem in error.errors())
        raise UserError("; ".join(problems)) from None


def _explain(model: type[Settings], problem: Any, source: str, given: Collection[Key]) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if any(tuple(location[: len(parts)]) == parts for parts in given):
        source = "--set"
    if problem["type"] == "extra_forbidden":
        return f"{source}: unknown key {key!r}; {closest(location[-1], _keys(model, location[:-1]))}"
    if problem["type"] == "missing":
        return f"{source}: key {key!r} is missing; add it"
    message = problem["msg"].removeprefix("Value error, ")
    if not location:  # a rule over several keys, which its message names
        return f"{source}: {message}"
    value = problem["input"]
    shown = "" if isinstance(value, dict) else f"={value!r}"
    return f"{source}: {key}{shown}: {message[:1].lower()}{message[1:]}"


def _keys(model: type[Settings], parents: list[str]) -> list[str]:
    """List the fields of the (nested) model that `parents` leads to."""
    for name in parents:
        field = model.model_fields.get(name)
        annotation = getattr(field, "annotation", None)
        for nested in (annotation, *get_args(annotation)):  # `Table | None` too
            if isinstance(nested, type) and issubclass(nested, Settings):
                model = nested
    return list(model.model_fields)
