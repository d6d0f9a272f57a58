"""One side of a comparison in a process of its own: `python -m trainer.perf.worker SIDE CASE`.

It says in one JSON line that it is ready; then every line on stdin makes it take one step and answer with one
JSON line. Its end of stdin is its end. The two sides may live in different environments.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.errors import CommandLine, run_cli
from tasks.provenance import git_state, package_versions
from trainer.__main__ import prepare
from trainer.perf.cases import CASES, Case, our_config, trl_config

Step = Callable[[], dict[str, float]]
"""Take one step and say how long its phases took (*_s, seconds) and how many tokens it made and trained."""


def main() -> None:
    """Run the command line."""
    parser = CommandLine(prog="python -m trainer.perf.worker", description=__doc__)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("case", choices=sorted(CASES))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")  # libraries print; their lines go to stderr
    os.dup2(2, 1)
    case = CASES[arguments.case]
    make_config, start = SIDES[arguments.side]
    config = make_config(case, arguments.set)
    prepare(config.threads)
    import torch

    torch.set_num_threads(config.threads)
    sha, dirty = git_state()

    def ready(engine: str) -> None:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        about = {
            "engine": engine,
            "device": device,
            "threads": config.threads,
            "versions": package_versions(),
        }
        say({**about, "git_sha": sha, "git_dirty": dirty, "config": config.model_dump(mode="json")})

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    def stepped(timings: dict[str, float]) -> None:
        peak = {"peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        if torch.cuda.is_available():
            peak["peak_gpu_mb"] = torch.cuda.max_memory_allocated() / 2**20
        say({**timings, **peak})

    start(case, config, ready, stepped)


def wait() -> bool:
    """Wait for the word to take a step; False when there will be none."""
    return bool(sys.stdin.readline())


def start_ours(case: Case, config: Any, ready: Callable[[str], None], stepped: Callable[..., None]) -> None:
    """Take our steps."""
    from tasks.catalog import load_problems
    from trainer.loop import train_step
    from trainer.open_policy import open_policy
    from trainer.rollouts import fitting

    out = Path(tempfile.gettempdir())  # nothing is written there
    policy = open_policy(config, out, 0)
    config = config.model_copy(update={"forward": policy.forward})
    if case.prompt_tokens:
        from trainer.perf.synthetic import our_update

        ready("none")
        update = our_update(case, config, policy.model, policy.optimizer)
        while wait():
            stepped(update())
        return
    problems = load_problems(config.task, "train")
    problems = fitting(problems, policy.tokenizer, config.task, policy.longest_prompt, print)
    ready(policy.engine.name)
    step = 0
    while wait():
        step += 1
        metrics = train_step(policy, problems, config, step, out)
        phases = {name.removeprefix("time/"): s for name, s in metrics.items() if name.startswith("time/")}
        stepped({**phases, "tokens": metrics["step_tokens"]})
    policy.engine.close()


def start_trl(case: Case, config: Any, ready: Callable[[str], None], stepped: Callable[..., None]) -> None:
    """Take TRL's steps: its own training loop, held before every step until the word comes."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # `rollout_func` feeds the synthetic ids
    from trainer.peers.trl_recipe import open_trainer
    from trainer.policies import policy_folder

    config = config.model_copy(update={"steps": 1000, "checkpoint_every": 1000})  # it lays out every prompt
    if case.prompt_tokens:
        from trainer.perf.synthetic import trl_update

        update = trl_update(case, config)
        ready("none")
        while wait():
            stepped(update())
        return
    from trainer.perf.held import Ended, HeldSteps

    trainer = open_trainer(config, policy_folder(config.policy))
    trainer.add_callback(HeldSteps(trainer.record, wait, stepped))
    ready("transformers")
    try:
        trainer.train()
    except Ended:
        return


SIDES: dict[str, tuple[Callable[..., Any], Callable[..., None]]] = {
    "ours": (our_config, start_ours),
    "trl": (trl_config, start_trl),
}


if __name__ == "__main__":
    sys.exit(run_cli(main))
