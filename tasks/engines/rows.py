"""What both engines do around decoding: refuse bad calls, merge equal rows, know the ends, hand back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tasks.asking import named_ends
from tasks.checkpoints import model_folder
from tasks.engines import Completion, Request, Sampling
from tasks.errors import UserError

SCORING = Sampling(temperature=0, max_new_tokens=1)
"""vLLM scores a sequence by decoding one token more; both engines ask for that room."""


class Row(NamedTuple):
    """One sequence to decode, and the (request, seed) places that its completion fills."""

    prompt: tuple[int, ...]
    seed: int
    places: list[tuple[int, int]]


def end_token_ids(folder: Path) -> frozenset[int]:
    """Collect every end-of-sequence id that generation_config, config and tokenizer name.

    Raises:
        UserError: none of them names one, so that no completion could ever end, or one of them is no id.
    """
    folder = model_folder(folder)
    found = named_ends(folder)
    if not found:
        raise UserError(f"{folder}: no end-of-sequence token; set eos_token_id in generation_config.json")
    return found


def check_call(requests: Sequence[Request], sampling: Sampling, max_model_len: int) -> None:
    """Refuse what an engine cannot decode; both engines check the same."""
    if not 0 <= sampling.temperature < float("inf"):
        raise UserError(f"temperature={sampling.temperature}: must be 0 (greedy) or positive")
    if not 0 < sampling.top_p <= 1:
        raise UserError(f"top_p={sampling.top_p}: must lie above 0 and be at most 1 (every token)")
    if sampling.max_new_tokens < 1:
        raise UserError(f"max_new_tokens={sampling.max_new_tokens}: must be 1 or more")
    longest = max((len(request.prompt) for request in requests), default=0)
    if any(not request.prompt for request in requests):
        raise UserError("a prompt of 0 tokens: the model has nothing to go on; begin it with a token")
    if longest + sampling.max_new_tokens > max_model_len:
        raise UserError(
            f"a prompt of {longest} tokens and max_new_tokens={sampling.max_new_tokens} need more than "
            f"max_model_len={max_model_len}; raise it or ask for fewer tokens"
        )


def plan_rows(requests: Sequence[Request], *, greedy: bool) -> list[Row]:
    """List the distinct sequences to decode, shortest prompt first; greedy ones do not depend on the seed."""
    rows: dict[tuple[tuple[int, ...], int], Row] = {}
    for at, request in enumerate(requests):
        for place, seed in enumerate(request.seeds):
            key = (request.prompt, 0 if greedy else seed)
            rows.setdefault(key, Row(*key, [])).places.append((at, place))
    return sorted(rows.values(), key=lambda row: (len(row.prompt), row.prompt))


def hand_back(
    requests: Sequence[Request], decoded: Iterable[tuple[Row, Completion]]
) -> list[list[Completion]]:
    """Put every completion into the places of its row: outer list by request, inner list by seed."""
    by_place = {place: completion for row, completion in decoded for place in row.places}
    return [[by_place[at, seed] for seed in range(len(request.seeds))] for at, request in enumerate(requests)]
