"""Train and score a candidate as far as the next look needs it, and judge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from benchmark.gate.baseline import PLAN, Baseline
from benchmark.gate.decide import LOOKS
from benchmark.gate.health import Break, first_break
from benchmark.gate.integrity import check_integrity, check_settings
from benchmark.gate.judge import Judgement, judge
from benchmark.gate.results import Results, protocol_digest, read_metrics, read_results, the_arm
from benchmark.gate.stops import IntegrityError, TooLittleError
from benchmark.jobs.run import run_suite
from benchmark.suite import Suite, run_folder
from tasks.errors import InfrastructureError, UserError
from tasks.files import write_json
from tasks.provenance import machine, package_versions

PILOT = 1
"""Runs whose health is looked at before the first look: most broken trainers need no more."""
OWN_PROOFS = ("WeightMismatch", "FloatingPointError")
"""Errors with which a trainer stops because what it computed is wrong; any other error is a crash."""
ROOT = Path(__file__).resolve().parents[2]
CODE = ("benchmark", "tasks", "trainer")
CLAIM, RUNS = "gate_code.json", "results"
"""In the gate's folder: whose runs it holds, and the results folder itself."""


def gate_suite(
    suite: Suite,
    out: Path,
    baseline: Baseline,
    train: Callable[[Sequence[int]], None],
    report: Callable[[str], None] = lambda line: None,
    allowed: Collection[str] = (),
) -> Judgement:
    """Train and score with the present checkout until the pairs decide.

    Args:
        suite: what to train; seeds that the baseline lacks are not trained.
        out: its results folder, of this code alone (`claim` names it).
        baseline: to hold it against.
        train: trains, generates and scores some seeds into `out` (`run_part`).
        report: takes a line per look.
        allowed: settings of the trainer that may differ from the baseline's.

    Raises:
        IntegrityError, TooLittleError: see `judge`.
        InfrastructureError: a trainer or an engine crashed.
    """
    if protocol_digest(suite) != baseline.results.protocol:
        raise IntegrityError(
            f"baseline invalid: suite {suite.name} asks for other things than the baseline's suite; take the "
            "suite that the baseline was written for, or write a new baseline with the reason"
        )
    check_settings(suite.train, baseline.results.suite["train"], allowed, f"[train] of suite {suite.name}")
    seeds = [run.seed for run in baseline.results.runs if run.seed in suite.seeds]
    looks = [n for n in LOOKS if n <= len(seeds)]
    if not looks:
        raise TooLittleError(
            f"{len(seeds)} seeds in common with the baseline: the first look needs {LOOKS[0]}"
        )
    for n in (PILOT, *looks):
        try:
            train(seeds[:n])
        except (InfrastructureError, UserError):
            if proof := own_proof(suite, out, seeds[:n]):
                return proof
            raise
        results = read_results(out, suite, seeds[:n])
        broken = health(suite, out, results, baseline.results.checked)
        if n == PILOT and broken is None:
            check_integrity(results, baseline.results, allowed)
            continue
        judgement = judge(results, baseline, broken, can_add=n < looks[-1], allowed=allowed)
        report(f"look at {n} pairs: {judgement.outcome}, {judgement.headline}")
        if judgement.outcome != "more":
            return judgement
    raise AssertionError("the last look decides")


def gate_folder(suite: Suite, out: Path, baseline: Baseline, allowed: Collection[str] = ()) -> Judgement:
    """Judge results that are there; nothing is trained."""
    results = read_results(out, suite)
    broken = health(suite, out, results, baseline.results.checked)
    return judge(results, baseline, broken, can_add=False, allowed=allowed)


def run_part(
    suite: Suite, words: Sequence[str], out: Path, seeds: Sequence[int], engine: str, jobs: int
) -> None:
    """Train, generate and score some seeds of a suite; what is done already is not done again."""
    part = suite.model_copy(update={"seeds": list(seeds)})
    run_suite(part, [*words, "--set", f"seeds={json.dumps(list(seeds))}"], out, engine, jobs)


def health(suite: Suite, out: Path, results: Results, expected: Sequence[str]) -> Break | None:
    """Return the first broken invariant of the runs, that of the earliest step first."""
    found = [
        first_break(read_metrics(run_folder(out, results.arm, run.seed)), run.config, run.seed, expected)
        for run in results.runs
    ]
    broken = [one for one in found if one is not None]
    return min(broken, key=lambda one: (one.step, one.seed)) if broken else None


def own_proof(suite: Suite, out: Path, seeds: Sequence[int]) -> Judgement | None:
    """Return a failure where a trainer has stopped itself because its result was wrong."""
    arm = the_arm(suite)
    for seed in seeds:
        path = run_folder(out, arm, seed) / "manifest.json"
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            failed = manifest["state"] == "failed" and manifest["reason"].startswith(OWN_PROOFS)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
        if failed:
            return Judgement(
                outcome="fail",
                caught_by="trainer",
                headline=f"seed {seed}: the trainer stopped with a proof of its own, {manifest['reason']}",
            )
    return None


def claim(out: Path) -> Path:
    """Make OUT the folder of this code, whose runs would be taken for those of any later one.

    Returns:
        The results folder inside, for the runs.

    Raises:
        UserError: it belongs to other code, or cannot be made.
    """
    path, code = out / CLAIM, code_digest()
    if path.exists() or (out / RUNS).exists():
        try:
            held = json.loads(path.read_text(encoding="utf-8"))["code"]
        except (OSError, ValueError, TypeError, KeyError):
            held = None
        if held != code:
            raise UserError(f"{out}: holds runs of other code than the present; choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be made ({error.strerror}); choose another --out") from None
    write_json(path, {"code": code, "plan": PLAN})
    return out / RUNS


def code_digest() -> str:
    """Return the digest of what a run of the checkout depends on: code, data, packages, processor."""
    digest = hashlib.sha256()
    for package in CODE:
        for path in sorted((ROOT / package).rglob("*")):
            if path.is_file() and path.parent.name != "__pycache__":
                digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update(json.dumps([package_versions(), machine()["processor"]]).encode())
    return digest.hexdigest()
