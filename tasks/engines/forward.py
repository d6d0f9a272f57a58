"""Plain transformers forwards: load a folder, score sequences. The yardstick that engines are proved with."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as hf_logging

from tasks.asking import AGAIN
from tasks.checkpoints import is_adapter, model_folder
from tasks.engines import Dtype
from tasks.errors import UserError

LOGIT_BUDGET = 1 << 26
"""Most logits that one scoring forward may make (256 MiB in float32)."""


def load_model(folder: Path, dtype: Dtype, device: str) -> Any:
    """Load a causal language model from a folder: no network, no progress bar, no use of the global RNG.

    A LoRA adapter's folder gives its base with the adapter beside the layers. See `load_safely`.

    Raises:
        UserError: the files do not hold exactly the tensors of the architecture; tied ones may stand once.
    """
    bars = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            model, found = load_safely(
                AutoModelForCausalLM,
                folder,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused below: transformers' own error has many lines
            )
    finally:
        if bars:
            hf_logging.enable_progress_bar()
    _check_whole(folder, found)
    if is_adapter(folder):
        from tasks.engines.adapters import with_adapter

        model = with_adapter(model, folder)
    return model.to(device).eval()


def _check_whole(folder: Path, found: Mapping[str, Collection[Any]]) -> None:
    """What a file lacks transformers draws at random, and what it has too much it leaves out."""
    faults = {
        "missing_keys": "is missing",
        "unexpected_keys": "has no place",
        "mismatched_keys": "does not fit",
    }
    for key, fault in faults.items():
        names = sorted(one if isinstance(one, str) else str(one[0]) for one in found[key])
        if names:
            raise UserError(
                f"{folder}: tensor {names[0]!r} {fault} in the architecture of its config.json ({len(names)} "
                f"{'do' if len(names) > 1 else 'does'}); {AGAIN}, with the config it was trained with"
            )


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
        UserError: its files do not make a model or a tokenizer, or only with their own code.
    """
    try:
        return kind.from_pretrained(
            str(model_folder(folder)), local_files_only=True, trust_remote_code=False, **options
        )
    except (UserError, OSError, MemoryError, torch.OutOfMemoryError):
        raise
    # Each value of a config fails in its own way: KeyError of an unknown activation, TypeError of a number
    # that is a text, ImportError of a quantisation, ValueError of code of its own.
    except Exception as error:  # noqa: BLE001
        first = " ".join(str(error).split())[:200]
        raise UserError(
            f"{folder}: transformers cannot read it ({type(error).__name__}: {first}); mend its config, "
            "or, as its own code (auto_map) is not run, convert it to an architecture of transformers"
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
