"""Low-rank adapters (peft), and the plain weights that a model with or without them stands for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tasks.errors import UserError
from tasks.seeds import derive_seed
from trainer.config import TrainConfig
from trainer.sharding import whole

ADAPTER = "default"


def add_lora(model: PreTrainedModel, config: TrainConfig) -> None:
    """Freeze the model and put a trainable low-rank term B A · alpha / rank beside every linear layer.

    A is drawn from the run's seed and B is 0, so the policy starts as the one it was loaded as.

    Raises:
        UserError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UserError(
            f"lora_rank={config.lora_rank}: needs peft, which is not installed; run `pip install -e .[lora]`"
        ) from None
    plan = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=0.0,  # the sampled policy has none
        target_modules="all-linear",
        fan_in_fan_out=model.config.model_type == "gpt2",  # its linear layers keep their weights transposed
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "lora"))
        inject_adapter_in_model(plan, model, adapter_name=ADAPTER)


def plain_weights(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Give every weight of the HF state dict, adapters merged in, shards gathered; all processes must ask.

    Tied weights come once.
    """
    adapted: dict[str, Any] = {
        f"{name}.base_layer.weight": module
        for name, module in model.named_modules()
        if hasattr(module, "lora_A") and hasattr(module, "base_layer")
    }
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            continue
        weight = whole(parameter.detach())
        if name in adapted:
            weight = weight + low_rank_term(adapted[name]).to(weight.dtype)
        yield name.replace(".base_layer.", "."), weight


def low_rank_term(module: Any) -> Tensor:
    """Return B A · alpha / rank of one adapted layer, in the layout of its weight."""
    a, b = (whole(part[ADAPTER].weight.detach()) for part in (module.lora_A, module.lora_B))
    term: Tensor = module.scaling[ADAPTER] * (b @ a)
    return term.T if module.fan_in_fan_out else term


def adapter_weights(model: PreTrainedModel) -> dict[str, torch.nn.Parameter]:
    """Return the adapters by name: what a merged checkpoint does not hold. Empty without LoRA."""
    return {name: parameter for name, parameter in model.named_parameters() if ".lora_" in name}
