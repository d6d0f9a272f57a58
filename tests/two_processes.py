"""What test_parity.py runs under torchrun and without it: one update on a batch that ranks share."""

from __future__ import annotations

import itertools
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import torch

from tasks.schema import Grade, Status
from trainer.batch import build_batch
from trainer.distributed import process_group, rank, share, world_size
from trainer.sharding import shard, whole
from trainer.update import update


def load(name: str) -> ModuleType:
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(out: Path) -> None:
    cases = itertools.product(("llama", "gpt2"), ("padded", "tree"), ("none", "one group of rank 0"))
    found = {" ".join(case): steps(out / case[0], *case[1:]) for case in cases}
    if rank() == 0:
        torch.save(found, out / f"world_{world_size()}.pt")


def steps(policy: Path, forward: str, dropped: str) -> dict[str, torch.Tensor]:
    tiny, made = load("conftest"), load("groups")
    config = made.make_config(
        arm="lambda_grpo",
        kl_beta=0.04,
        forward=forward,
        micro_batch=2,  # a dropped group leaves its rank two pieces short
        updates_per_batch=2,
        gradient_clip=0.5,
        equal_reward_groups="kept" if dropped == "none" else "dropped",
    )
    groups, grades = made.make_groups(11, groups=4)
    grades[0] = [Grade(status=Status.CORRECT, answer="1")] * 4
    model, reference = tiny.load_double(policy), tiny.load_double(policy)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter *= 1.1
    if world_size() > 1:
        shard(model)
        shard(reference)
    batch = build_batch(share(groups), share(grades), config, step=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    result = update(model, reference, optimizer, batch, config)
    return {
        **{name: whole(parameter.detach()) for name, parameter in model.named_parameters()},
        **{f"gradient of {name}": whole(parameter.grad) for name, parameter in model.named_parameters()},
        "norm": torch.tensor(result.gradient_norms[0]),
        "loss": torch.tensor(result.loss),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    with process_group():
        main(Path(sys.argv[1]))
