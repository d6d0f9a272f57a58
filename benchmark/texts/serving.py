"""One engine for many checkpoints: every load is proved, and an engine that fails a proof is started anew."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.catalog import load_problems, splits_of
from tasks.checkpoints import Checkpoint, check_tokenizer, inspect_checkpoint
from tasks.decoding import Decoding
from tasks.engines import Dtype, Engine, WeightMismatch, open_engine
from tasks.engines.proof import largest_gap
from tasks.errors import InfrastructureError, UserError
from tasks.prompts import encode_prompt, prompt_text
from tasks.schema import SCORED

SPARE_TOKENS = 1
"""vLLM wants room for one more than it is asked for when it scores a prompt."""
SAME: dict[Dtype, float] = {"float32": 1e-5, "bfloat16": 2e-2}
"""Nats by which an engine may differ from itself on the same weights: a GPU may add in another order."""


def room_for(folder: Path, decodings: Mapping[str, Decoding]) -> int:
    """Return how many tokens the longest prompt and completion of the tasks take together."""
    from tasks.engines.forward import load_tokenizer

    tokenizer = load_tokenizer(folder)
    longest = max(
        len(encode_prompt(prompt_text(task, problem.question, tokenizer), tokenizer))
        + decoding.sampling.max_new_tokens
        for task, decoding in decodings.items()
        for split in splits_of(task)
        if split in SCORED
        for problem in load_problems(task, split)
    )
    return longest + SPARE_TOKENS


def open_scoring_engine(
    name: str, folder: Path, decodings: Mapping[str, Decoding], *, dtype: Dtype, max_sequences: int = 256
) -> Engine:
    """Open an engine with room for the longest prompt and completion of the tasks."""
    return open_engine(
        name,  # type: ignore[arg-type]  # open_engine checks it
        folder,
        dtype=dtype,
        max_model_len=room_for(folder, decodings),
        max_sequences=max_sequences,
    )


def reason(error: Exception) -> str:
    """Return what went wrong in one line: the kind of error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


class Serving:
    """An engine that holds one checkpoint at a time.

    Attributes:
        engine: what decodes now. It is another object after a restart: read it after every `load`.
        tokenizer: of the checkpoint that is loaded.
        how: how the weights got there: "opened", "swapped" or "restarted: REASON".
    """

    engine: Engine
    tokenizer: Any
    how: str

    def __init__(
        self,
        name: str,
        folder: Path,
        decodings: Mapping[str, Decoding],
        *,
        dtype: Dtype,
        max_sequences: int = 256,
    ) -> None:
        """Open the engine on a checkpoint.

        Args:
            name: "auto", "transformers" or "vllm".
            folder: the first checkpoint; all others must have its architecture and its tokenizer.
            decodings: of every task that will be asked: the engine needs room for their longest answer.
            dtype: of weights and activations.
            max_sequences: most completions decoded side by side.

        Raises:
            UserError: the folder is no checkpoint, or there is no such engine here.
            InfrastructureError: the engine does not start.
        """
        self._first = inspect_checkpoint(folder)
        self._room = room_for(folder, decodings)
        self._name: Any = name  # open_engine checks it
        self._dtype, self._max_sequences = dtype, max_sequences
        self._held: Checkpoint | None = None
        self._tolerance = SAME[dtype]
        self._values: dict[str, list[list[float]]] = {}  # weights -> log-probs of the probes
        self._start(self._first, "opened")

    def load(self, checkpoint: Checkpoint) -> None:
        """Let the engine answer as this checkpoint from now on, and prove that it does.

        The engine proves it against the files (`Engine.swap`). In addition, weights that were here before
        must give the log-probs that they gave then. An engine that fails is closed and started on this
        checkpoint, once.

        Raises:
            UserError: the checkpoint has another architecture or tokenizer, or a damaged file; load another.
            InfrastructureError: the engine that was started anew fails too.
        """
        if self._held == checkpoint:
            return
        check_tokenizer(checkpoint, self._first.tokenizer_hash, str(self._first.folder))
        self._held = None  # whatever happens from here on: what the engine holds is not known
        try:
            self.engine.swap(checkpoint.folder)
            self._arrived(checkpoint, "swapped")
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001  (an engine can fail in any way; the reason is kept)
            self.close()
            self._start(checkpoint, f"restarted: {reason(error)}")

    def close(self) -> None:
        """Release the engine. A failing engine may fail at this too: nothing of it is used any more."""
        try:
            self.engine.close()
        except Exception as error:  # noqa: BLE001
            sys.stderr.write(f"engine: closing it failed ({reason(error)})\n")

    def _start(self, checkpoint: Checkpoint, how: str) -> None:
        try:
            self.engine = open_engine(
                self._name,
                checkpoint.folder,
                dtype=self._dtype,
                max_model_len=self._room,
                max_sequences=self._max_sequences,
            )
            self._arrived(checkpoint, how)
        except UserError:
            raise
        except Exception as error:
            raise InfrastructureError(
                f"{checkpoint.folder}: the engine cannot be started on it ({reason(error)}); look at the "
                "machine's memory, then run the same command again"
            ) from error

    def _arrived(self, checkpoint: Checkpoint, how: str) -> None:
        from tasks.engines.forward import load_tokenizer

        self._compare_with_before(checkpoint)
        self.tokenizer = load_tokenizer(checkpoint.folder)
        self._held, self.how = checkpoint, how

    def _compare_with_before(self, checkpoint: Checkpoint) -> None:
        """A -> B -> A: the probes of weights that were here before have the values of then."""
        before = self._values.setdefault(checkpoint.weights_hash, self.engine.probed)
        gap = largest_gap(self.engine.probed, before)
        if not gap <= self._tolerance:
            raise WeightMismatch(f"{gap:.6f} nats off what the engine said when it held these weights before")
