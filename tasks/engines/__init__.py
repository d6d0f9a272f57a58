"""The engine seam: what turns prompts and weights into completions, for rollouts and for scoring alike.

Two implementations: `transformers` (always there) and `vllm` (where it is installed). Importing this package
loads neither, and no torch; `open_engine` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

EngineName = Literal["auto", "transformers", "vllm"]
Dtype = Literal["float32", "bfloat16"]


class Finish(StrEnum):
    """Why a completion ended. Taken from the engine, never guessed from token ids."""

    STOP = "stop"
    """The end-of-sequence token was produced; it is the last token of the completion."""
    LENGTH = "length"
    """`max_new_tokens` was reached."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How every completion of one call is decoded."""

    temperature: float
    """0 is greedy decoding."""
    max_new_tokens: int
    """Tokens, the end-of-sequence token included."""
    top_p: float = 1.0
    """Only the most probable tokens are drawn from: as many as it takes to hold this share. 1 keeps all."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One prompt and the seeds of the completions wanted for it."""

    prompt: tuple[int, ...]
    """Token ids, ready for the model: no special token is added."""
    seeds: tuple[int, ...] = (0,)
    """One completion per seed (63-bit). A completion depends on its seed and its prompt, not on its
    neighbours in the batch. Greedy decoding ignores the value."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One decoded continuation."""

    tokens: tuple[int, ...]
    """Token ids; ends with the end-of-sequence token exactly when `finish` is STOP."""
    logprobs: tuple[float, ...]
    """Natural log-probability of each token under the distribution it was drawn from (at the sampling
    temperature; at temperature 1 for greedy decoding). Empty where they were not asked for."""
    finish: Finish


class Engine(Protocol):
    """A model that is ready to decode. One engine serves many checkpoints of one architecture."""

    name: str
    """"transformers" or "vllm"."""
    probed: list[list[float]]
    """What the engine said of fixed texts when the weights of a folder came: log p of every token but the
    first. The same weights must always give the same; empty for a live module."""

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool = True
    ) -> list[list[Completion]]:
        """Decode every request; the outer list follows `requests`, the inner one follows its seeds.

        Args:
            requests: prompts and seeds.
            sampling: of all of them.
            logprobs: False where nobody reads them: a small model takes up to a tenth longer with them.
        """

    def token_logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return log p(token t | tokens before t) at temperature 1 for t >= 1 of every sequence."""

    def swap(self, folder: Path) -> None:
        """Load the weights of another checkpoint in place and prove it (`WeightMismatch` if it fails).

        The proof: the tensors inside are those of the files, and fixed texts have the log-probs that a
        float32 forward of transformers gives them. No key or value of the old weights stays cached.
        """

    def update(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take new weights from the trainer's live parameters, by their names in the HF state dict."""

    def effective_sampling(self, sampling: Sampling) -> dict[str, str | float | int]:
        """Say what the draw really depends on, read back from the engine: part of the sample store's key."""

    def describe(self) -> dict[str, str]:
        """Name, version, dtype and device, as stored with every completion."""

    def close(self) -> None:
        """Release the engine's memory."""


class WeightMismatch(RuntimeError):
    """The engine does not hold the weights it was given: nothing it says may be used."""


def open_engine(
    name: EngineName,
    folder: Path,
    *,
    dtype: Dtype = "float32",
    max_model_len: int,
    max_sequences: int = 256,
    model: nn.Module | None = None,
    gpu_memory_share: float = 0.9,
) -> Engine:
    """Start an engine on the checkpoint in `folder`.

    Args:
        name: "auto" takes vLLM where it imports and transformers elsewhere; print `Engine.name` to say which.
        folder: an HF folder with config.json, safetensors weights and a tokenizer.
        dtype: of weights and activations.
        max_model_len: prompt and completion together, in tokens.
        max_sequences: most completions decoded side by side.
        model: a live module that the transformers engine decodes with instead of loading `folder`: the
            policy in training, so that no second copy is held and `update` has nothing to do.
        gpu_memory_share: of the GPU's memory that vLLM takes at once; less where a trainer shares the GPU.

    Raises:
        UserError: vLLM was asked for by name and cannot be imported; the message says why.
    """
    from tasks.engines import select

    return select.open_engine(
        name,
        folder,
        dtype=dtype,
        max_model_len=max_model_len,
        max_sequences=max_sequences,
        model=model,
        gpu_memory_share=gpu_memory_share,
    )
