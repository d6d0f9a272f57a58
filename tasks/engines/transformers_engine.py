"""The engine that is always there: its own decoding loop over a transformers model with a KV cache."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers import DynamicCache

from tasks.checkpoints import is_adapter, model_folder
from tasks.engines import Completion, Dtype, Finish, Request, Sampling, WeightMismatch
from tasks.engines.forward import evaluating, load_model, score
from tasks.engines.proof import check_architecture, probe_prompts, prove_folder, stored_tensors
from tasks.engines.rows import SCORING, Row, check_call, end_token_ids, hand_back, plan_rows

DROP_SHARE = 8
"""Finished rows leave the batch once they are one in this many: dropping copies the whole cache."""


class TransformersEngine:
    """See `tasks.engines.Engine`."""

    name = "transformers"

    def __init__(
        self,
        folder: Path,
        *,
        dtype: Dtype,
        max_model_len: int,
        max_sequences: int,
        model: nn.Module | None = None,
    ) -> None:
        """Load the folder, or take the live module as it is, on its own device.

        A live module keeps its own dtype; where it is wider than the engine's it computes under autocast.
        """
        self._live = model is not None
        self._asked, self._dtype = dtype, str(dtype)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model: Any = model if model is not None else load_model(model_folder(folder), dtype, device)
        if self._model.dtype.itemsize < getattr(torch, dtype).itemsize:
            self._dtype = str(self._model.dtype).removeprefix("torch.")  # a live module in lower precision
        self._device = next(self._model.parameters()).device
        self._opened, self._ends = folder, end_token_ids(folder)
        self._max_model_len = max_model_len
        self._max_sequences = max_sequences
        self.probed: list[list[float]] = []
        if is_adapter(folder) and not self._live:
            self._take(folder)
        elif not self._live:
            self.probed = self.token_logprobs(probe_prompts(folder, max_model_len - 1))

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool = True
    ) -> list[list[Completion]]:
        """Decode prompts of like length side by side; every prompt is computed once, whatever its seeds."""
        check_call(requests, sampling, self._max_model_len)
        rows = plan_rows(requests, greedy=sampling.temperature == 0)
        done: list[Completion] = []
        with evaluating(self._model), torch.no_grad(), self._precision():
            for start in range(0, len(rows), self._max_sequences):
                done += self._decode(rows[start : start + self._max_sequences], sampling)
        if not logprobs:
            done = [replace(one, logprobs=()) for one in done]
        return hand_back(requests, zip(rows, done, strict=True))

    def token_logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Score sequences of like length side by side."""
        check_call([Request(prompt=tuple(one)) for one in sequences], SCORING, self._max_model_len)
        with self._precision():
            return score(self._model, sequences, self._max_sequences)

    def _precision(self) -> torch.autocast:
        """Return the context of one call; it casts trained weights once, and frozen ones at every use."""
        lower = getattr(torch, self._dtype)
        narrower = lower.itemsize < self._model.dtype.itemsize
        return torch.autocast(self._device.type, dtype=lower, enabled=narrower)

    def swap(self, folder: Path) -> None:
        """Copy the tensors of the folder into the module and compare every one with the file afterwards."""
        if self._live:
            raise ValueError("swap on an engine that decodes with the live policy would overwrite the policy")
        check_architecture(self._opened, folder)
        self._take(folder)

    def _take(self, folder: Path) -> None:
        weights = dict(stored_tensors(folder))
        self.update(weights.items())
        held = self._model.state_dict()
        for name, tensor in weights.items():
            if not torch.equal(held[name].cpu(), tensor.to(held[name].dtype)):
                raise WeightMismatch(f"{folder}: {name!r} in the engine differs from the file (or holds NaN)")
        self._ends = end_token_ids(folder)
        self.probed = prove_folder(self, folder, self._max_model_len - 1, self._asked)

    def update(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Copy by name. A live module holds the weights already: there is no copy that could be stale."""
        if self._live:
            return
        held: dict[str, Tensor] = self._model.state_dict()
        missing = set(held)
        with torch.no_grad():
            for name, tensor in weights:
                if name not in held or held[name].shape != tensor.shape:
                    raise ValueError(
                        f"weight {name!r} {tuple(tensor.shape)} has no place in the engine's model"
                    )
                held[name].copy_(tensor)
                missing.discard(name)
        given = {held[name].data_ptr() for name in held.keys() - missing}
        unset = sorted(
            name for name in missing if held[name].data_ptr() not in given
        )  # tied weights share memory
        if unset:
            raise WeightMismatch(
                f"{len(unset)} weights were not given and are stale, the first is {unset[0]!r}"
            )

    def effective_sampling(self, sampling: Sampling) -> dict[str, str | float | int]:
        """Name what decides the draw; this engine has no other setting that could."""
        return {
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_new_tokens,
            "top_p": sampling.top_p if sampling.temperature else 1.0,
            "top_k": 0,
            "stop_token_ids": ",".join(map(str, sorted(self._ends))),
            "draw": "argmax" if sampling.temperature == 0 else "inverse-cdf-philox",
        }

    def describe(self) -> dict[str, str]:
        """Name, versions, dtype and device."""
        return {
            "engine": self.name,
            "version": transformers.__version__,
            "torch": torch.__version__,
            "dtype": self._dtype,
            "device": torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "cpu",
        }

    def close(self) -> None:
        """Let go of the model."""
        self._model = None
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _decode(self, rows: list[Row], sampling: Sampling) -> list[Completion]:
        """Decode rows side by side; those with the same text so far share a state, which is computed once."""
        limit = sampling.max_new_tokens
        prompts = list(dict.fromkeys(row.prompt for row in rows))
        index = {prompt: at for at, prompt in enumerate(prompts)}
        state_b = torch.tensor([index[row.prompt] for row in rows], device=self._device)
        token_st, mask_st = left_pad(prompts, room=limit, device=self._device)
        cache = DynamicCache(config=self._model.config)
        logits_sv = self._forward(token_st, mask_st, cache)
        seeds = [row.seed for row in rows]
        uniform_bt = draws(seeds, limit, self._device) if sampling.temperature else None
        is_end_v = torch.zeros(logits_sv.shape[-1], dtype=torch.bool, device=self._device)
        is_end_v[[end for end in self._ends if end < len(is_end_v)]] = True

        tokens_bt = torch.zeros((len(rows), limit), dtype=torch.int64, device=self._device)
        logps_bt = torch.zeros((len(rows), limit), dtype=torch.float64, device=self._device)
        length_b = torch.full((len(rows),), limit, device=self._device)
        stopped_b = torch.zeros(len(rows), dtype=torch.bool, device=self._device)
        live = torch.arange(len(rows), device=self._device)  # rows still in the batch, as indices into *_b
        for step in range(limit):
            uniform = None if uniform_bt is None else uniform_bt[live, step]
            token, logp = choose(logits_sv[state_b], uniform, sampling.temperature, sampling.top_p)
            tokens_bt[live, step], logps_bt[live, step] = token, logp
            ended = is_end_v[token] & ~stopped_b[live]
            length_b[live[ended]] = step + 1
            stopped_b[live] |= ended
            going = ~stopped_b[live]
            count = int(going.sum())
            if step + 1 == limit or count == 0:
                break
            if (len(live) - count) * DROP_SHARE >= len(live):
                live, token, state_b = live[going], token[going], state_b[going]
            else:
                token = token.where(going, 0)  # what is over must not branch
            parent_s, token_s, state_b = branch(state_b, token)
            if not torch.equal(parent_s, torch.arange(len(logits_sv), device=self._device)):
                cache.batch_select_indices(parent_s)
                mask_st = None if mask_st is None else mask_st[parent_s]
            logits_sv = self._forward(token_s[:, None], mask_st, cache)
        return collect(tokens_bt, logps_bt, length_b, stopped_b)

    def _forward(self, token_bt: Tensor, mask_bt: Tensor | None, cache: DynamicCache) -> Tensor:
        """Append tokens to the cache; return the logits after the last one, (B, V)."""
        extra: dict[str, Tensor] = {}
        if mask_bt is not None:
            seen = cache.get_seq_length() + token_bt.shape[1]
            extra["attention_mask"] = mask_bt[:, :seen]
            extra["position_ids"] = (mask_bt[:, :seen].cumsum(-1) - 1).clamp(min=0)[:, -token_bt.shape[1] :]
        out = self._model(
            input_ids=token_bt, past_key_values=cache, use_cache=True, logits_to_keep=1, **extra
        )
        logits_bv: Tensor = out.logits[:, -1]
        return logits_bv


def left_pad(
    prompts: Sequence[Sequence[int]], *, room: int, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Return tokens (P, T) and a mask (P, T + room) with 0 on the padding; None where nothing is padded."""
    width = max(len(prompt) for prompt in prompts)
    token_pt = torch.tensor([[0] * (width - len(one)) + list(one) for one in prompts], device=device)
    if all(len(prompt) == width for prompt in prompts):
        return token_pt, None
    pad_p = torch.tensor([width - len(one) for one in prompts], device=device)
    mask_pt = torch.arange(width + room, device=device) >= pad_p[:, None]
    return token_pt, mask_pt.long()


def branch(state_b: Tensor, token_b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Put rows that went from one state to the same token into one new state.

    Args:
        state_b: (B,) state of each row.
        token_b: (B,) the token that each row adds.

    Returns:
        (S,) the state before and (S,) the token of every new state, in the order of states; (B,) the new
        state of each row.

    >>> branch(torch.tensor([0, 0, 1, 0]), torch.tensor([7, 5, 5, 7]))
    (tensor([0, 0, 1]), tensor([5, 7, 5]), tensor([1, 0, 2, 1]))
    """
    pair_b2 = torch.stack([state_b, token_b], dim=1)
    pair_s2, state_b = torch.unique(pair_b2, dim=0, return_inverse=True)
    return pair_s2[:, 0], pair_s2[:, 1], state_b


def draws(seeds: Sequence[int], count: int, device: torch.device) -> Tensor:
    """Return (B, count) float64 uniforms in [0, 1): row b is a function of seeds[b], whatever `count` is."""
    uniform_bt = np.stack([np.random.Generator(np.random.Philox(key=seed)).random(count) for seed in seeds])
    return torch.from_numpy(uniform_bt).to(device)


def choose(
    logits_bv: Tensor, uniform_b: Tensor | None, temperature: float, top_p: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Pick one token a row: argmax without uniforms, else the inverse CDF of softmax(logits / temperature).

    Args:
        logits_bv: (B, V) of any float dtype.
        uniform_b: (B,) float64 in [0, 1), or None for greedy decoding.
        temperature: > 0 with uniforms; not read without.
        top_p: draw from the nucleus alone, see `nucleus`; not read without uniforms.

    Returns:
        Token ids (B,) int64 and their natural log-probs (B,) float64, at temperature 1 if greedy.

    >>> choose(torch.tensor([[0.0, 0.0, -1e9, 0.0]]).log_softmax(-1), torch.tensor([0.5]).double(), 1.0)[0]
    tensor([1])
    """
    scaled_bv = logits_bv.double()
    if uniform_b is not None:
        scaled_bv = nucleus(scaled_bv / temperature, top_p)
    scaled_bv = scaled_bv - scaled_bv.amax(-1, keepdim=True)
    cdf_bv = scaled_bv.exp().cumsum(-1)  # float64: the sum of 150,000 float32 terms would move the borders
    total_b = cdf_bv[:, -1]
    if uniform_b is None:
        token_b = logits_bv.argmax(-1)
    else:
        token_b = torch.searchsorted(cdf_bv, (uniform_b * total_b)[:, None], right=True)[:, 0]
        token_b = token_b.clamp(max=logits_bv.shape[-1] - 1)  # NaN logits: a token all the same, log-prob NaN
    return token_b, scaled_bv.gather(-1, token_b[:, None])[:, 0] - total_b.log()


def nucleus(logits_bv: Tensor, top_p: float) -> Tensor:
    """Set to -inf what lies outside the smallest set of most probable tokens that holds a share of top_p.

    The token that crosses the border stays, so one always does. Source: Holtzman et al., arXiv:1904.09751.

    >>> nucleus(torch.tensor([[0.5, 0.3, 0.2]]).log(), 0.6).exp()
    tensor([[0.5000, 0.3000, 0.0000]])
    """
    if top_p == 1:
        return logits_bv
    sorted_bv, order_bv = logits_bv.sort(dim=-1, descending=True, stable=True)
    share_bv = sorted_bv.softmax(-1)
    outside_bv = share_bv.cumsum(-1) - share_bv >= top_p
    return logits_bv.masked_fill(torch.zeros_like(outside_bv).scatter(-1, order_bv, outside_bv), -torch.inf)


def collect(tokens_bt: Tensor, logps_bt: Tensor, length_b: Tensor, stopped_b: Tensor) -> list[Completion]:
    """Cut the rows to their lengths."""
    columns = (tokens_bt.tolist(), logps_bt.tolist(), length_b.tolist(), stopped_b.tolist())
    return [
        Completion(
            tokens=tuple(token[:length]),
            logprobs=tuple(logp[:length]),
            finish=Finish.STOP if stopped else Finish.LENGTH,
        )
        for token, logp, length, stopped in zip(*columns, strict=True)
    ]
