"""Problems to groups of completions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.engines import Completion, Engine, Request, Sampling
from tasks.errors import UserError
from tasks.prompts import encode_prompt, prompt_text
from tasks.schema import Problem
from tasks.seeds import derive_seed
from trainer.config import TrainConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class RolloutGroup:
    """G completions of one problem: the unit of the advantage and of the process tree."""

    problem: Problem
    prompt: tuple[int, ...]
    """Prompt token ids."""
    completions: list[Completion]
    repeat: int = 0
    """How often the problem stood earlier in the same step: at the border of two epochs, or in a small
    set."""


def problems_of_step(problems: Sequence[Problem], config: TrainConfig, step: int) -> list[Problem]:
    """Return the problems of optimizer step `step` (counted from 1).

    Each epoch is a permutation that depends on (seed, epoch) alone, so a resumed run sees the same problems
    and arms with equal seeds are paired.
    """
    first = (step - 1) * config.problems_per_step
    picked = []
    for position in range(first, first + config.problems_per_step):
        epoch, index = divmod(position, len(problems))
        order = np.random.default_rng(derive_seed(config.seed, "order", epoch)).permutation(len(problems))
        picked.append(problems[order[index]])
    return picked


def repeats(problems: Sequence[Problem]) -> list[int]:
    """Return for each problem how often it stood before in the list, so that no two groups draw alike."""
    seen: Counter[str] = Counter()
    counts = []
    for problem in problems:
        counts.append(seen[problem.id])
        seen[problem.id] += 1
    return counts


def fitting(
    problems: Sequence[Problem],
    tokenizer: PreTrainedTokenizerBase,
    task: str,
    limit: int,
    report: Callable[[str], None],
) -> list[Problem]:
    """Return the problems whose prompt has at most `limit` tokens, and report how many have more.

    Raises:
        UserError: all have more.
    """
    lengths = [
        len(encode_prompt(prompt_text(task, problem.question, tokenizer), tokenizer)) for problem in problems
    ]
    kept = [problem for problem, length in zip(problems, lengths, strict=True) if length <= limit]
    if not kept:
        raise UserError(
            f"room for prompts of {limit} tokens: the shortest of {task!r} has {min(lengths)}; "
            "raise max_prompt_tokens, lower max_new_tokens or take a policy with more positions"
        )
    if len(kept) < len(problems):
        left = len(problems) - len(kept)
        report(f"{left} of {len(problems)} problems left out: their prompts have more than {limit} tokens")
    return kept


def rollout(
    engine: Engine,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    config: TrainConfig,
    step: int,
    repeat: Sequence[int] | None = None,
) -> list[RolloutGroup]:
    """Sample one group per problem; every completion's seed derives from (seed, step, problem, repeat,
    member).

    Args:
        engine: decodes.
        tokenizer: of the policy.
        problems: those of the step, or one process's share of them.
        config: task, group size and sampling.
        step: counted from 1.
        repeat: how often each problem stood earlier in the whole step; by default counted in `problems`.
    """
    repeat = repeats(problems) if repeat is None else repeat
    prompts = [
        encode_prompt(prompt_text(config.task, problem.question, tokenizer), tokenizer)
        for problem in problems
    ]
    requests = [
        Request(
            prompt=prompt,
            seeds=tuple(
                derive_seed(config.seed, "rollout", step, problem.id, again, member)
                for member in range(config.group_size)
            ),
        )
        for prompt, problem, again in zip(prompts, problems, repeat, strict=True)
    ]
    sampling = Sampling(temperature=config.temperature, max_new_tokens=config.max_new_tokens)
    decoded = engine.generate(requests, sampling)
    return [
        RolloutGroup(problem=problem, repeat=again, prompt=prompt, completions=completions)
        for problem, again, prompt, completions in zip(problems, repeat, prompts, decoded, strict=True)
    ]
