"""A live engine as an lm-eval model: lm-eval builds the requests, the engine answers, nothing is lost."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager
from transformers import PreTrainedTokenizerBase

from benchmark.store import Sample
from tasks.catalog import find_task
from tasks.decoding import Decoding
from tasks.engines import Completion, Engine, Request, Sampling
from tasks.harness.configs import decoding_keys, lm_eval_name
from tasks.harness.glue import Answer, mean_of_known
from tasks.prompts import chat_text, encode_prompt
from tasks.schema import Split
from tasks.seeds import derive_seed


@dataclass(frozen=True)
class Ask:
    """One completion that is wanted."""

    item: str
    """`Problem.id`."""
    index: int
    """Of the sample within its item."""
    prompt: tuple[int, ...]
    prompt_hash: str
    """sha256 of the prompt text, chat template included."""


def build_requests(
    task: str, split: Split, decoding: Decoding, tokenizer: PreTrainedTokenizerBase, manager: TaskManager
) -> list[Ask]:
    """Let lm-eval build the requests of one split of a task of ours, as its `evaluate` does.

    Args:
        task: a name of the catalog.
        split: of the task.
        decoding: how, and how many samples of each item.
        tokenizer: writes the prompts.
        manager: knows our tasks (`benchmark.texts.generate.quiet_task_manager`).

    Returns:
        Item by item, the samples of an item side by side.

    Raises:
        UserError: the tokenizer cannot write a prompt, or has no chat template where the task wants one.
    """

    def chat_template(messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        del add_generation_prompt  # always wanted here
        return chat_text(messages, tokenizer)

    chat = find_task(task).chat
    built = lm_eval_task(task, split, decoding, manager)
    built.build_all_requests(apply_chat_template=chat, chat_template=chat_template if chat else None)
    repeated = [one for one in built.instances for _ in range(one.repeats)]
    return number_samples(repeated, tokenizer, decoding.sampling)


def lm_eval_task(task: str, split: Split, decoding: Decoding, manager: TaskManager) -> Any:
    """Return lm-eval's object of one split of a task of ours, decoded in this way."""
    name = lm_eval_name(task, split)
    changed = {"task": name, **decoding_keys(decoding, mean_of_known)}
    loaded = manager.load([{"group": "asked", "task": [changed]}])  # a group is what may change a task's keys
    return loaded["tasks"][name]


def number_samples(
    requests: Sequence[Instance], tokenizer: PreTrainedTokenizerBase, sampling: Sampling
) -> list[Ask]:
    """Number the samples of each item, of which lm-eval repeats one request, and encode each prompt once.

    Raises:
        ValueError: a request asks for other decoding than `sampling`.
    """
    seen: Counter[str] = Counter()
    prompts: dict[int, tuple[tuple[int, ...], str]] = {}  # by identity: a repeated request is one object
    asks = []
    for request in requests:
        if id(request) not in prompts:
            text, asked = request.args
            _check(asked, sampling)
            prompts[id(request)] = (
                encode_prompt(text, tokenizer),
                hashlib.sha256(text.encode()).hexdigest(),
            )
        item = str(request.doc["id"])
        asks.append(Ask(item, seen[item], *prompts[id(request)]))
        seen[item] += 1
    return asks


def _check(asked: dict[str, Any], sampling: Sampling) -> None:
    wanted = Sampling(
        temperature=asked["temperature"] if asked.get("do_sample") else 0.0,
        top_p=asked["top_p"],
        max_new_tokens=asked["max_gen_toks"],
    )
    if wanted != sampling or asked.get("until"):
        raise ValueError(f"the task asks for {asked}, this model decodes with {sampling} and no text stops")


class EngineLM(LM):  # type: ignore[misc]
    """Serves lm-eval's generation requests from one engine, whatever checkpoint it holds at the time.

    lm-eval keeps the text of an answer alone; a `Sample` keeps what it drops: finish reason, length, seed,
    hash of the prompt.
    """

    def __init__(self, engine: Engine, tokenizer: PreTrainedTokenizerBase, sampling: Sampling) -> None:
        """Wrap a live engine; every request is decoded with `sampling`."""
        super().__init__()
        self.engine = engine
        self.tokenizer = tokenizer
        self.sampling = sampling
        self.seconds = 0.0
        """What the engine took."""

    @property
    def tokenizer_name(self) -> str:
        """Name that lm-eval puts into its request fingerprints."""
        return str(self.tokenizer.name_or_path)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Render messages exactly as training does."""
        del add_generation_prompt  # lm-eval asks for it whenever it asks for an answer, which is always here
        return chat_text(chat_history, self.tokenizer)

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[Answer]:
        """Answer every request; lm-eval repeats a request once per sample, so its index is counted here.

        Raises:
            ValueError: a task asks for other decoding than this model does.
        """
        del disable_tqdm
        return [answer for _, answer in self.answer(number_samples(requests, self.tokenizer, self.sampling))]

    def answer(self, asks: Sequence[Ask]) -> list[tuple[Sample, Answer]]:
        """Answer what is asked; the seed of each answer follows from its item and index."""
        wanted = [
            Request(prompt=ask.prompt, seeds=(derive_seed("score", ask.item, ask.index),)) for ask in asks
        ]
        started = time.perf_counter()
        decoded = self.engine.generate(wanted, self.sampling, logprobs=False)
        self.seconds += time.perf_counter() - started
        return [
            self._keep(ask, one.seeds[0], completions[0])
            for ask, one, completions in zip(asks, wanted, decoded, strict=True)
        ]

    def _keep(self, ask: Ask, seed: int, completion: Completion) -> tuple[Sample, Answer]:
        answer = Answer(self.tokenizer.decode(list(completion.tokens), skip_special_tokens=True))
        answer.finish = completion.finish
        sample = Sample(
            item=ask.item,
            index=ask.index,
            text=str(answer),
            tokens=len(completion.tokens),
            finish=completion.finish,
            seed=seed,
            prompt_hash=ask.prompt_hash,
        )
        return sample, answer

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """Refuse: no task of ours is scored by likelihood."""
        raise TypeError("this model only generates; the task must have output_type generate_until")

    def loglikelihood_rolling(self, requests: Sequence[Instance]) -> list[float]:
        """Refuse: no task of ours is scored by likelihood."""
        raise TypeError("this model only generates; the task must have output_type generate_until")
