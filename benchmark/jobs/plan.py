"""What a run will do, before it does it: all that can be refused is refused here, and the rest is counted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmark.jobs.runs import is_done
from benchmark.store import Store
from benchmark.suite import Suite, check_command, run_folder
from benchmark.texts.generate import OF_CHECKPOINT, measurable, sample_request, wanted_samples
from tasks.catalog import missing_sets
from tasks.checkpoints import Checkpoint
from tasks.errors import USAGE, InfrastructureError, UserError
from tasks.schema import Split

Place = tuple[str, Split]
"""A task and one of its splits."""


@dataclass(frozen=True)
class Outlook:
    """What the trainer says that its runs will be."""

    asks: tuple[tuple[str, str, int], ...]
    """(folder of a starting policy, task that it is trained on, longest rollout); none where no arm's command
    can be asked."""
    checkpoints: int | None
    """Of one run, step 0 left out; None where no arm can be asked."""
    steps: int | None
    """Optimizer steps of one run."""


def describe(suite: Suite, out: Path, jobs: int) -> str:
    """Say in a few lines what a run is."""
    scored = [f"{task}: {suite.decoding(task)}" for task in suite.tasks]
    return (
        f"suite {suite.name} ({suite.kind}): {suite.summary}\n"
        f"  train  {' and '.join(suite.arms)} x {len(suite.seeds)} seeds, {jobs} at a time\n"
        f"  score  every checkpoint on {'; '.join(scored)}\n"
        + "".join(f"  without {reason}\n" for reason in missing_sets(suite.tasks).values())
        + f"  into   {out}"
    )


def count_done(suite: Suite, out: Path) -> int:
    """Return how many runs of a suite are done.

    Raises:
        UserError: a manifest is damaged.
    """
    return sum(is_done(run_folder(out, arm, seed)) for arm in suite.arms for seed in suite.seeds)


def ask_trainers(suite: Suite) -> Outlook:
    """Let every arm's trainer check recipe, overrides and policy, side by side.

    Raises:
        UserError: a trainer refuses; its own words.
    """
    asked = {
        arm: subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for arm in suite.arms
        if (command := check_command(suite, arm, suite.seeds[0]))
    }
    try:
        answers = {arm: _answer(arm, process) for arm, process in asked.items()}
    finally:
        for process in asked.values():
            process.kill()
            process.communicate()
    asks = {(str(one["policy"]), str(one["task"]), int(one["max_new_tokens"])) for one in answers.values()}
    shapes = {(int(answer["checkpoints"]), int(answer["steps"])) for answer in answers.values()}
    checkpoints, steps = shapes.pop() if len(shapes) == 1 else (None, None)
    return Outlook(tuple(sorted(asks)), checkpoints, steps)


def _answer(what: str, process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the JSON object on the last line that a check prints."""
    output, told = process.communicate()
    if process.returncode == USAGE:
        lines = [line for line in told.splitlines() if line.startswith("error: ")]
        raise UserError(lines[-1].removeprefix("error: ") if lines else told.strip())
    lines = output.strip().splitlines()
    if process.returncode != 0 or not lines:
        last = (told.strip().splitlines() or ["no output"])[-1]
        raise InfrastructureError(f"checking {what} ended with exit code {process.returncode} ({last})")
    return dict(json.loads(lines[-1]))


def check_asking(suite_words: Sequence[str], outlook: Outlook) -> None:
    """Check, in a process of its own since it loads a tokenizer, that every policy can be asked every task.

    Raises:
        UserError: no chat template, a prompt that the tokenizer cannot write, or too few positions.
    """
    for policy, task, tokens in outlook.asks:
        words = [*suite_words, "--policy", policy, "--train", task, str(tokens)]
        command = [sys.executable, "-m", "benchmark.jobs.asking", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            _answer("how the policy is asked", process)
        finally:
            process.kill()
            process.communicate()


@dataclass(frozen=True)
class Count:
    """How much of something there is."""

    total: int | None
    """None where nobody can say yet."""
    done: int

    def __str__(self) -> str:
        """Name what is left and what is there."""
        if self.total is None:
            return f"{self.done} there already"
        return f"{max(0, self.total - self.done)} to do, {self.done} there already"


@dataclass(frozen=True)
class Amounts:
    """What is there and what is to do."""

    runs: Count
    checkpoints: Count
    units: Count
    completions: Count
    tokens: str
    """Of the completions to do, and what that rests on."""
    time: str


def amounts(suite: Suite, out: Path, store: Store, engine: str, outlook: Outlook, jobs: int) -> Amounts:
    """Count runs, checkpoints, units and completions, from the files that are there.

    Weights are not read, that would take minutes: texts of any weights of this folder count as texts of the
    suite.

    Raises:
        UserError: a manifest or a shard is damaged.
    """
    folders = [run_folder(out, arm, seed) for arm in suite.arms for seed in suite.seeds]
    done = count_done(suite, out)
    there = sum(len(list((folder / "checkpoints").glob("step_*"))) for folder in folders)
    distinct = None if outlook.checkpoints is None else 1 + len(folders) * outlook.checkpoints
    places = measurable(suite)
    want = {place: len(wanted_samples(suite, *place)) for place in places}
    found = _held(suite, store, engine)
    held = [min(count, want[place]) for (_, place), count in found.items()]
    whole = sum(count >= want[place] for (_, place), count in found.items())
    completions = Count(None if distinct is None else distinct * sum(want.values()), sum(held))
    tokens, seconds = _rates(store, found)
    left = None
    if distinct is not None:
        left = {
            place: max(0, distinct * want[place] - sum(n for (_, at), n in found.items() if at == place))
            for place in places
        }
    return Amounts(
        runs=Count(len(folders), done),
        checkpoints=Count(
            None if outlook.checkpoints is None else len(folders) * (outlook.checkpoints + 1), there
        ),
        units=Count(None if distinct is None else distinct * len(places), whole),
        completions=completions,
        tokens=_tokens(suite, left, tokens),
        time=f"{_training(folders, outlook, jobs)}; {_generating(left, seconds, jobs)}",
    )


def _held(suite: Suite, store: Store, engine: str) -> dict[tuple[str, Place], int]:
    """Return (unit, (task, split)) -> completions, of the units that the suite asks for as it is now."""
    nobody = Checkpoint(Path(), "", "", 0)
    asked = {
        place: {
            key: value
            for key, value in sample_request(suite, nobody, *place, engine).items()
            if key not in OF_CHECKPOINT
        }
        for place in measurable(suite)
    }
    found: dict[tuple[str, Place], int] = {}
    for key, count in store.counts().items():
        request = store.request(key)
        place = (request["task"], request["split"])
        rest = {name: value for name, value in request.items() if name not in OF_CHECKPOINT}
        if rest == asked.get(place):
            found[key, place] = count
    return found


Rates = Mapping[Place, float]
"""(task, split) -> per completion."""


def _rates(
    store: Store, found: Mapping[tuple[str, Place], int]
) -> tuple[dict[Place, float], dict[Place, float]]:
    """Return tokens and engine seconds of a completion, from one unit of each task and split."""
    tokens, seconds = {}, {}
    for key, place in found:
        if place not in tokens:
            unit = store.read(key)
            count = len(unit.samples)
            tokens[place] = sum(sample.tokens for sample in unit.samples) / count
            seconds[place] = sum(one["seconds"] for one in unit.effective) / count
    return tokens, seconds


def _tokens(suite: Suite, left: Mapping[Any, int] | None, rates: Rates) -> str:
    if left is None:
        return "unknown: the arms' trainers do not say how many checkpoints there will be"
    if any(number and place not in rates for place, number in left.items()):
        most = sum(
            number * suite.decoding(task).sampling.max_new_tokens for (task, _), number in left.items()
        )
        return f"at most {most:,} (every completion as long as it may be)"
    expected = sum(number * rates.get(place, 0) for place, number in left.items())
    return f"about {round(expected):,} (as long as those there)"


def _training(folders: Sequence[Path], outlook: Outlook, jobs: int) -> str:
    logged = [_step_seconds(folder) for folder in folders]
    taken = [second for steps in logged for second in steps]
    if all(map(is_done, folders)):
        return "training is done"
    if outlook.steps is None or not taken:
        return "training unknown until the first step"
    todo = sum(max(0, outlook.steps - len(steps)) for steps in logged)
    return f"training about {_span(todo * sum(taken) / len(taken) / jobs)} (from {len(taken)} steps there)"


def _step_seconds(folder: Path) -> list[float]:
    seconds = []
    path = folder / "timings.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            seconds.append(float(json.loads(line)["time/step_s"]))
        except (ValueError, TypeError, KeyError):
            continue  # a line that is being written; a damaged log is named when the run is read
    return seconds


def _generating(left: Mapping[Any, int] | None, rates: Rates, jobs: int) -> str:
    if left is not None and not any(left.values()):
        return "texts are all there"
    if left is None or any(number and place not in rates for place, number in left.items()):
        return "generating unknown until the first block of every task"
    spent = sum(number * rates[at] for at, number in left.items() if number)
    return f"generating about {_span(spent / jobs)} (as fast as the blocks there)"


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def table(found: Amounts) -> str:
    """Lay out the counts for a person."""
    return "\n".join(
        f"  {name:<12} {value}"
        for name, value in (
            ("runs", found.runs),
            ("checkpoints", found.checkpoints),
            ("units", found.units),
            ("completions", found.completions),
            ("tokens", found.tokens),
            ("time", found.time),
        )
    )
