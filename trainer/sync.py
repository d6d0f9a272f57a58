"""Hand new weights to the rollout engine, and prove after every update that it holds them."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from tasks.engines import Engine
from tasks.engines.proof import probe_sequences, prove_weights
from tasks.seeds import derive_seed

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.25}
"""Largest |difference| in nats; bfloat16 was seen 0.09 nats off on sound weights."""


def sync_weights(model: PreTrainedModel, engine: Engine, *, dtype: str, seed: int, step: int) -> float:
    """Update the engine and compare it with the trainer on fresh random sequences.

    Returns:
        The largest difference in nats; 0 for an engine that decodes with the trained module itself.

    Raises:
        WeightMismatch: the engine does not hold the new weights; its rollouts would be off-policy unseen.
    """
    engine.update((name, parameter.detach()) for name, parameter in model.named_parameters())
    if engine.name == "transformers":
        return 0.0
    sequences = probe_sequences(model.config.vocab_size, derive_seed(seed, "probe", step), count=2)
    return prove_weights(engine, sequences, trusted_logprobs(model, sequences), TOLERANCE[dtype])


def trusted_logprobs(model: PreTrainedModel, sequences: list[list[int]]) -> list[list[float]]:
    """Return log p(token t | tokens before t), t >= 1, of equally long sequences by a plain forward pass."""
    ids = torch.tensor(sequences, device=next(model.parameters()).device)
    with torch.no_grad():
        logp = model(input_ids=ids, use_cache=False).logits[:, :-1].float().log_softmax(dim=-1)
    chosen: list[list[float]] = logp.gather(2, ids[:, 1:, None]).squeeze(2).tolist()
    return chosen
