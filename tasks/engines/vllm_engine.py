"""vLLM behind the engine seam: one resident engine, weights taken in place, and proof that they arrived."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tasks.checkpoints import is_adapter, model_folder
from tasks.engines import Completion, Dtype, Finish, Request, Sampling, WeightMismatch
from tasks.engines.forward import parameter_names
from tasks.engines.proof import check_architecture, prove_folder, stored_tensors
from tasks.engines.readback import check_seen, read_back
from tasks.engines.rows import SCORING, check_call, end_token_ids, hand_back, plan_rows
from tasks.errors import UserError

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in this process: starts in seconds, weights arrive by reference
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # pinned threads stall where another process uses the core
    "VLLM_LOGGING_LEVEL": "ERROR",  # set it to INFO to see everything vLLM prints
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
CPU_CACHE_BYTES = 1 << 30
"""Key-value cache on the CPU: vLLM's own guess asks for most of the machine and fails."""
PREFILL_TOKENS = 4096
"""Prompt tokens of one engine step; at least one whole prompt must fit."""
TEMPERATURES = (0.01, 2.0)
"""What vLLM takes; below it draws at 0.01 without an error."""


@contextmanager
def quiet() -> Iterator[None]:
    """Swallow what vLLM and its C++ libraries print while they start, warnings included."""
    if os.environ.get("VLLM_LOGGING_LEVEL") != ENVIRONMENT["VLLM_LOGGING_LEVEL"]:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    try:
        with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, stream)
            os.close(copy)


@cache
def load_vllm() -> Any:
    """Import vLLM (10 to 15 s) with the environment it reads while it is imported."""
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    with quiet():
        import vllm.platforms
        from vllm import LLM, SamplingParams, TokensPrompt  # noqa: F401  (lazy names: a broken build fails here)
    return vllm


class VllmEngine:
    """See `tasks.engines.Engine`."""

    name = "vllm"

    def __init__(
        self,
        folder: Path,
        *,
        dtype: Dtype,
        max_model_len: int,
        max_sequences: int,
        gpu_memory_share: float = 0.9,
    ) -> None:
        """Start the engine (5 to 20 s) and prove it against transformers. One at a time in a process."""
        self._vllm = load_vllm()
        self._on_cpu = self._vllm.platforms.current_platform.is_cpu()
        memory: dict[str, Any] = (
            {"kv_cache_memory_bytes": CPU_CACHE_BYTES, "enforce_eager": True}
            if self._on_cpu
            else {"gpu_memory_utilization": gpu_memory_share}
        )
        with quiet(), torch.random.fork_rng(devices=[]):
            self._llm = self._vllm.LLM(
                str(model_folder(folder)),
                dtype=dtype,
                trust_remote_code=False,
                load_format="safetensors",
                max_model_len=max_model_len,
                max_num_seqs=max_sequences,
                seed=0,
                skip_tokenizer_init=True,
                generation_config="vllm",  # the folder's file may not change the sampling
                logprobs_mode="processed_logprobs",
                enable_prefix_caching=True,
                # a prompt cut in two makes vLLM wind a seeded generator back, which no CPU generator can do
                enable_chunked_prefill=not self._on_cpu,
                max_num_batched_tokens=max(PREFILL_TOKENS, max_model_len),
                **memory,
            )
        self._dtype, self._max_model_len = dtype, max_model_len
        self._opened, self._ends = folder, end_token_ids(folder)
        weights = dict(stored_tensors(folder))
        if is_adapter(folder):
            self._reload(weights.items())
        self._names = parameter_names(folder)
        self._prove(folder, weights)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool = True
    ) -> list[list[Completion]]:
        """Decode all requests as one batch of single rows, so that every completion has its own seed."""
        check_call(requests, sampling, self._max_model_len)
        low, high = TEMPERATURES
        if sampling.temperature and not low <= sampling.temperature <= high:
            raise UserError(
                f"temperature={sampling.temperature}: vLLM takes 0 or {low} to {high}; use transformers"
            )
        rows = plan_rows(requests, greedy=sampling.temperature == 0)
        outputs = self._ask(
            [row.prompt for row in rows],
            [self._parameters(sampling, seed=row.seed, logprobs=logprobs) for row in rows],
        )
        return hand_back(requests, zip(rows, (_completion(one.outputs[0]) for one in outputs), strict=True))

    def token_logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Read the prompt log-probs of every sequence."""
        check_call([Request(prompt=tuple(one)) for one in sequences], SCORING, self._max_model_len)
        parameters = self._parameters(SCORING, seed=0)
        parameters.prompt_logprobs = 0  # of the token itself, no alternatives
        parameters.skip_reading_prefix_cache = True  # cached tokens would come without log-probs
        outputs = self._ask(sequences, [parameters] * len(sequences))
        return [list(one.prompt_logprobs.logprobs) for one in outputs]

    def swap(self, folder: Path) -> None:
        """Reload from the folder's safetensors; compare its tensors, and log-probs with transformers."""
        check_architecture(self._opened, folder)
        weights = dict(stored_tensors(folder))
        self._reload(weights.items())
        self._ends = end_token_ids(folder)
        self._prove(folder, weights)

    def update(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take the trainer's weights; the trainer proves them with `tasks.engines.proof.prove_weights`."""
        missing = set(self._names)

        def counted() -> Iterator[tuple[str, Tensor]]:
            for name, tensor in weights:
                missing.discard(name)
                yield name, tensor.detach()

        self._reload(counted())
        if missing:
            raise WeightMismatch(
                f"{len(missing)} weights were not given and are stale, one is {min(missing)!r}"
            )

    def effective_sampling(self, sampling: Sampling) -> dict[str, str | float | int]:
        """Read back what vLLM made of the request, after its own defaults and corrections."""
        held = self._parameters(sampling, seed=0)
        names = ["temperature", "max_tokens", "top_p", "top_k", "min_p", "min_tokens", "repetition_penalty"]
        names += ["presence_penalty", "frequency_penalty", "ignore_eos"]
        effective: dict[str, str | float | int] = {name: getattr(held, name) for name in names}
        return effective | {"stop_token_ids": ",".join(map(str, held.stop_token_ids or ()))}

    def describe(self) -> dict[str, str]:
        """Name, versions, dtype and device."""
        return {
            "engine": self.name,
            "version": self._vllm.__version__,
            "torch": torch.__version__,
            "dtype": self._dtype,
            "device": "cpu" if self._on_cpu else torch.cuda.get_device_name(),
        }

    def close(self) -> None:
        """Stop the engine and free its memory."""
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        self._llm.llm_engine.engine_core.shutdown()
        del self._llm
        cleanup_dist_env_and_memory()

    def _parameters(self, sampling: Sampling, *, seed: int, logprobs: bool = True) -> Any:
        return self._vllm.SamplingParams(
            temperature=sampling.temperature,
            max_tokens=sampling.max_new_tokens,
            seed=seed,
            top_p=sampling.top_p,
            top_k=0,
            stop_token_ids=sorted(self._ends),
            ignore_eos=True,  # only the ids above stop: the same set as in the transformers engine
            logprobs=0 if logprobs else None,  # 0: of the drawn token alone
            flat_logprobs=True,
            detokenize=False,
        )

    def _ask(self, prompts: Sequence[Sequence[int]], parameters: list[Any]) -> list[Any]:
        with torch.random.fork_rng(
            devices=[]
        ):  # vLLM draws from the global generator even where every row has a seed
            inputs = [self._vllm.TokensPrompt(prompt_token_ids=list(prompt)) for prompt in prompts]
            outputs: list[Any] = self._llm.generate(inputs, parameters, use_tqdm=False)
        return outputs

    def _reload(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        with quiet(), torch.no_grad():
            self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})
            if self._on_cpu:
                self._llm.apply_model(repack_head)
        self._llm.reset_prefix_cache()

    def _prove(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Compare with the files, tensor by tensor, and with a float32 forward of the folder."""
        found = self._llm.apply_model(partial(read_back, weights=weights))
        stale, unseen = ([name for one in found for name in one[at]] for at in (0, 1))
        if stale:
            raise WeightMismatch(f"{folder}: {stale[0]!r} in vLLM differs from the file ({len(stale)} do)")
        check_seen(unseen, weights, self._names, folder)
        self.probed = prove_folder(self, folder, self._max_model_len - 1, self._dtype)


def repack_head(model: Any) -> None:
    """Mend a silent fault of the CPU build: a reload leaves the packed copy of a tied lm_head stale."""
    from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

    dispatch_cpu_unquantized_gemm(model.lm_head, remove_weight=False)


def _completion(output: Any) -> Completion:
    return Completion(
        tokens=tuple(output.token_ids),
        logprobs=tuple(output.logprobs.logprobs) if output.logprobs else (),
        finish=Finish(output.finish_reason),
    )
