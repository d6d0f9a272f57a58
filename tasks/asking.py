"""What decides texts besides weights and tokenizer.json: chat template, ends, settings. No torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tasks.errors import UserError

AGAIN = "copy or save the checkpoint again"
NOT_ARCHITECTURE = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"}
NOT_ARCHITECTURE |= {"bos_token_id", "eos_token_id", "pad_token_id"}
"""Keys of config.json that do not change what a model computes; where a text ends is asked for by itself."""
SETTINGS = (
    "add_bos_token",
    "add_eos_token",
    "add_prefix_space",
    "clean_up_tokenization_spaces",
    "split_special_tokens",
)
"""Keys of tokenizer_config.json that change ids or texts; null and false are what an absent one means."""
NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
GENERIC = {"PreTrainedTokenizer", "TokenizersBackend"}
"""Names of the class that does what tokenizer.json says."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing or malformed file is a `UserError` that names it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, a checkpoint needs it; {AGAIN}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}); {AGAIN}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: want a JSON object, got {type(value).__name__}; {AGAIN}")
    return value


def vocabulary(folder: Path) -> list[tuple[str, int]]:
    """List the (text, id) pairs of tokenizer.json; Unigram models list pieces, all others map text to id."""
    tokenizer = read_json(folder / "tokenizer.json")
    try:
        words = (tokenizer.get("model") or {}).get("vocab") or {}
        pairs = (
            list(words.items()) if isinstance(words, dict) else [(one[0], at) for at, one in enumerate(words)]
        )
        return pairs + [(entry["content"], int(entry["id"])) for entry in tokenizer.get("added_tokens") or ()]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{folder / 'tokenizer.json'}: not a tokenizer; {AGAIN}") from None


def named_ends(folder: Path) -> frozenset[int]:
    """Collect every end-of-sequence id that generation_config, config and tokenizer name; there may be none.

    Raises:
        UserError: what stands there is no id.
    """
    found = set[int]()
    for name in ("generation_config.json", "config.json"):
        value = _held(folder, name).get("eos_token_id")
        ids = [] if value is None else value if isinstance(value, list) else [value]
        if any(type(one) is not int for one in ids):
            raise UserError(f"{folder / name}: eos_token_id={value!r}; want a token's id or a list of ids")
        found |= set(ids)
    text = _text(_held(folder, "tokenizer_config.json").get("eos_token"))
    if text is not None:
        found |= {number for word, number in vocabulary(folder) if word == text}
    return frozenset(found)


def asking_hash(folder: Path) -> str:
    """Return a sha256 of chat template, ends, special tokens and settings, however they are spelled."""
    settings = _held(folder, "tokenizer_config.json")
    template = folder / "chat_template.jinja"
    try:
        chat = template.read_text(encoding="utf-8") if template.is_file() else settings.get("chat_template")
    except ValueError as error:
        raise UserError(f"{template}: not readable as text ({error}); {AGAIN}") from None
    kind = str(settings.get("tokenizer_class") or "PreTrainedTokenizer").removesuffix("Fast")
    parts = [
        chat,
        sorted(named_ends(folder)),
        _text(settings.get("bos_token")),
        sorted(_special_tokens(folder, settings)),
        "generic" if kind in GENERIC else kind,
        {name: settings[name] for name in SETTINGS if settings.get(name)},
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def config_hash(config: dict[str, Any]) -> str:
    """Return a sha256 of what a config.json says about the function that its model computes."""
    said = {key: value for key, value in config.items() if key not in NOT_ARCHITECTURE and value is not None}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _special_tokens(folder: Path, settings: dict[str, Any]) -> set[str]:
    """Return the texts that decoding leaves out, wherever they are listed."""
    more = settings.get("additional_special_tokens") or settings.get("extra_special_tokens") or []
    listed = [
        *(settings.get(name) for name in NAMED_TOKENS),
        *(more.values() if isinstance(more, dict) else more),
        *(
            one
            for one in read_json(folder / "tokenizer.json").get("added_tokens") or ()
            if one.get("special")
        ),
    ]
    return {text for one in listed if (text := _text(one)) is not None}


def _text(token: object) -> str | None:
    """Return a token's text: it stands by itself or with how it is cut out of a text."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def _held(folder: Path, name: str) -> dict[str, Any]:
    return read_json(folder / name) if (folder / name).is_file() else {}
