"""Can a policy be asked what a suite asks? `python -m benchmark.jobs.asking SUITE --policy FOLDER`.

Started by `benchmark.jobs.plan` before anything is trained, as a process of its own: it loads tokenizers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmark.suite import Suite, load_suite
from benchmark.texts.generate import measurable
from benchmark.texts.serving import SPARE_TOKENS
from tasks.asking import read_json
from tasks.catalog import load_problems
from tasks.checkpoints import model_folder
from tasks.errors import CommandLine, UserError, run_cli
from tasks.prompts import encode_prompt, prompt_text
from tasks.provenance import quiet_and_offline
from tasks.schema import Split


def main() -> None:
    """Check a policy, and print an empty JSON object when it can be asked everything."""
    parser = CommandLine(prog="python -m benchmark.jobs.asking", description=__doc__)
    parser.add_argument("suite")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--policy", type=Path, required=True)
    parser.add_argument("--train", nargs=2, metavar=("TASK", "TOKENS"), required=True, help="of the rollouts")
    arguments = parser.parse_args()
    quiet_and_offline()
    suite = load_suite(arguments.suite, arguments.set)
    check_policy(arguments.policy, suite)
    task, tokens = arguments.train
    check_train(arguments.policy, task, int(tokens))
    sys.stdout.write(json.dumps({}) + "\n")


def check_policy(folder: Path, suite: Suite) -> None:
    """Refuse a policy that cannot be asked every task and split of a suite.

    Raises:
        UserError: names task, policy and what is wrong: no chat template, a prompt that the tokenizer cannot
            write, too few positions for the longest prompt with its completion.
    """
    tokenizer, last = _tokenizer(folder), _positions(folder)
    for task, split in measurable(suite):
        longest = max(_lengths(folder, tokenizer, task, split))
        room = longest + suite.decoding(task).sampling.max_new_tokens + SPARE_TOKENS
        if last is not None and room > last:
            raise UserError(
                f"task {task!r} {split}: its longest prompt has {longest} tokens, with the completion it "
                f"needs {room} positions, and {folder} has {last}; --set max_new_tokens to at most "
                f"{last - longest - SPARE_TOKENS}, or use another policy"
            )


def check_train(folder: Path, task: str, tokens: int) -> None:
    """Refuse a policy that cannot be asked the task that it is trained on.

    Raises:
        UserError: as `check_policy`; training leaves out prompts that are too long, so one has to fit.
    """
    last = _positions(folder)
    shortest = min(_lengths(folder, _tokenizer(folder), task, "train"))
    if last is not None and shortest + tokens > last:
        raise UserError(
            f"task={task!r}: its shortest prompt has {shortest} tokens, with max_new_tokens={tokens} that "
            f"is more than the {last} positions of {folder}; lower it under [train]"
        )


def _lengths(folder: Path, tokenizer: Any, task: str, split: Split) -> list[int]:
    try:
        return [
            len(encode_prompt(prompt_text(task, problem.question, tokenizer), tokenizer))
            for problem in load_problems(task, split)
        ]
    except UserError as error:
        raise UserError(f"task {task!r} cannot be asked of {folder}: {error}") from None


def _tokenizer(folder: Path) -> Any:
    from tasks.engines.forward import load_tokenizer

    return load_tokenizer(folder)


def _positions(folder: Path) -> int | None:
    config = read_json(model_folder(folder) / "config.json")
    last = config.get("max_position_embeddings", config.get("n_positions"))
    return last if isinstance(last, int) else None


if __name__ == "__main__":
    sys.exit(run_cli(main))
