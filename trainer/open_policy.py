"""The live policy: model, reference, optimizer and rollout engine, as they stand at one step of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_layers import GradientCheckpointingLayer

from tasks.checkpoints import check_tokenizer, inspect_checkpoint
from tasks.engines import Engine, open_engine
from tasks.engines.proof import probe_prompts
from tasks.errors import UserError
from trainer.checkpoint import load_state, step_folder
from trainer.config import TrainConfig
from trainer.distributed import device, world_size
from trainer.logprobs import settle_forward
from trainer.lora import add_lora
from trainer.policies import policy_folder
from trainer.sharding import shard

ROLLOUT_MEMORY_SHARE = 0.3
"""Of a GPU's memory that a vLLM engine takes when it shares the GPU with the trainer."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The model in training with everything that belongs to it."""

    model: PreTrainedModel
    reference: PreTrainedModel | None
    """The frozen starting policy; None when no KL term asks for it."""
    forward: Literal["auto", "padded", "tree"]
    """How the update may run both models."""
    longest_prompt: int
    """Tokens of the longest prompt that model and configuration have room for."""
    tokenizer: PreTrainedTokenizerBase
    optimizer: torch.optim.Optimizer
    engine: Engine
    live: bool
    """The engine decodes with `model` itself, so there is nothing to hand over."""
    probes: list[list[int]]
    """Prompts on which engine and model are compared after every update."""


def open_policy(config: TrainConfig, out: Path, step: int, report: Callable[[str], None] = print) -> Policy:
    """Load the weights of `step` with their optimizer state and start the rollout engine on them.

    Args:
        config: the run.
        out: its folder.
        step: 0 for the starting policy, else the step of the saved state.
        report: takes a line where the model cannot take the tree forward.
    """
    base = policy_folder(config.policy)
    folder = step_folder(out, step) if step else base
    check_tokenizer(inspect_checkpoint(folder), inspect_checkpoint(base).tokenizer_hash, str(base))
    # a checkpoint holds merged weights; the adapters themselves are in the saved state
    model = load_module(base if config.lora_rank else folder, config)
    longest_prompt = prompt_room(model, config)
    probes = probe_prompts(folder, longest=32)
    forward = settle_forward(model, config.forward, report, probes)
    if config.lora_rank:
        add_lora(model, config)
    if config.activation_checkpointing:
        checkpoint_activations(model)
    reference = None
    if config.kl_beta > 0:
        reference = load_module(base, config)
        settle_forward(reference, forward, report, probes)
    if world_size() > 1:
        for one in (model, reference):
            if one is not None:
                shard(one)
    optimizer = make_optimizer(model, config)
    if step:
        load_state(out, model, optimizer)
    engine = open_engine(
        config.engine,
        folder,
        dtype=config.dtype,
        max_model_len=longest_prompt + config.max_new_tokens,
        max_sequences=config.problems_per_step * config.group_size // world_size(),
        model=model if world_size() == 1 else None,
        gpu_memory_share=ROLLOUT_MEMORY_SHARE,
    )
    return Policy(
        model=model,
        reference=reference,
        forward=forward,
        longest_prompt=longest_prompt,
        tokenizer=AutoTokenizer.from_pretrained(folder),
        optimizer=optimizer,
        engine=engine,
        live=engine.name == "transformers" and world_size() == 1,
        probes=probes,
    )


def load_module(folder: Path, config: TrainConfig) -> PreTrainedModel:
    """Load a model in eval mode: dropout would make the update's policy another than the sampled one."""
    dtype = getattr(torch, config.weight_dtype)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device()).eval()
    return model


def make_optimizer(model: PreTrainedModel, config: TrainConfig) -> torch.optim.Optimizer:
    """Return AdamW over what is trained. Fused: one pass over the memory instead of ten."""
    return torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,
    )


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Keep the input of each layer alone and compute the rest again in the backward pass.

    transformers does that for layers in training mode. Only the layers' own flag is set: what is inside
    them, dropout above all, stays in eval mode.
    """
    model.gradient_checkpointing_enable({"use_reentrant": False})
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.training = True


def prompt_room(model: PreTrainedModel, config: TrainConfig) -> int:
    """Return the tokens of the longest prompt: as configured, or what the completion leaves of the positions.

    Raises:
        UserError: it leaves none.
    """
    positions: int = model.config.get_text_config().max_position_embeddings
    if config.max_new_tokens >= positions:
        raise UserError(
            f"max_new_tokens={config.max_new_tokens}: policy {config.policy!r} has {positions} positions for "
            "prompt and completion; lower it"
        )
    return min(config.max_prompt_tokens, positions - config.max_new_tokens)
