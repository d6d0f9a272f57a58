"""Plain transformers forwards: load a folder, score sequences. The yardstick that engines are proved with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as hf_logging

from tasks.checkpoints import is_adapter, model_folder
from tasks.engines import Dtype
from tasks.errors import UserError

LOGIT_BUDGET = 1 << 26
"""Most logits that one scoring forward may make (256 MiB in float32)."""


def load_model(folder: Path, dtype: Dtype, device: str) -> Any:
    """Load a causal language model from a folder: no network, no progress bar, no use of the global RNG.

    A LoRA adapter's folder gives its base with the adapter beside the layers. See `load_safely`.
    """
    bars = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            model = load_safely(
                AutoModelForCausalLM, folder, dtype=getattr(torch, dtype), use_safetensors=True
            )
    finally:
        if bars:
            hf_logging.enable_progress_bar()
    if is_adapter(folder):
        from tasks.engines.adapters import with_adapter

        model = with_adapter(model, folder)
    return model.to(device).eval()


def parameter_names(folder: Path) -> set[str]:
    """Name the parameters of a folder's model, tied ones once. No weights are read."""
    config = load_safely(AutoConfig, folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return {name for name, _ in model.named_parameters()}


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a checkpoint or of an adapter's base, without running code of the folder."""
    return load_safely(AutoTokenizer, folder)


def load_safely(kind: Any, folder: Path, **options: Any) -> Any:
    """Let one of transformers' Auto classes read a folder: no network, and no code of the folder is run.

    Raises:
        UserError: it can only be read with its own code.
    """
    try:
        return kind.from_pretrained(
            str(model_folder(folder)), local_files_only=True, trust_remote_code=False, **options
        )
    except ValueError as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"{folder}: transformers cannot read it ({first}); its own code (auto_map) is not run: convert "
            "it to an architecture of transformers"
        ) from None


def score(model: Any, sequences: Sequence[Sequence[int]], max_sequences: int) -> list[list[float]]:
    """Return log p(token t | tokens before t) for t >= 1, from plain full forwards.

    Sequences of like length share a batch, padded on the right, where a causal model does not look.
    """
    order = sorted(range(len(sequences)), key=lambda at: len(sequences[at]))
    device, vocabulary = next(model.parameters()).device, model.config.get_text_config().vocab_size
    scores: list[list[float]] = [[] for _ in sequences]
    with evaluating(model), torch.no_grad():
        while order:
            width = max(2, len(sequences[order[-1]]))
            chunk = order[-max(1, min(max_sequences, LOGIT_BUDGET // (width * vocabulary))) :]
            del order[-len(chunk) :]
            rows = [[*sequences[at], *[0] * (width - len(sequences[at]))] for at in chunk]
            token_bt = torch.tensor(rows, device=device)
            logits_btv = model(input_ids=token_bt, use_cache=False).logits[:, :-1].float()
            logp_bt = logits_btv.gather(-1, token_bt[:, 1:, None])[..., 0] - logits_btv.logsumexp(-1)
            for at, row in zip(chunk, logp_bt.tolist(), strict=True):
                scores[at] = row[: max(0, len(sequences[at]) - 1)]
    return scores


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in eval mode (no dropout) for a while; every submodule gets its own flag back."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training
