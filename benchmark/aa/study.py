"""A/A study: one arm against itself on disjoint seeds. How large is noise, and do the tests keep their word?

Every comparison here is between runs of the same arm, so whatever a test claims is a false alarm; where a
test claims that there is no loss, the runs are shifted by the margin first. Pairs of an A/A study have the
items in common and nothing else. Those of a real comparison share the seed too, and spread less as a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from benchmark.gate.decide import LOOKS, MARGIN, Verdict, decide
from benchmark.stats import equivalence_p, holm, paired_t_p, pairs_needed, sign_flip_p

Floats = NDArray[np.float64]
ALPHA = 0.05
PAIRED_ANEW = 200
"""Gates on random pairs of the same runs."""
HOLM_TASKS = 5
"""Comparisons that Holm's correction is tried on at once."""


@dataclass(frozen=True, kw_only=True)
class Alarms:
    """How often something was claimed that is not so."""

    test: str
    source: str
    """"real": disjoint runs; "real, paired anew": the same runs in random pairs, so trials share runs;
    "simulated": normal differences with the measured SD."""
    stated: float
    """The rate that the test promises not to exceed."""
    alarms: int
    trials: int
    low: float | None
    """Exact 95 % binomial interval of the rate; None without a trial and where trials share runs."""
    high: float | None
    note: str = ""


def count_alarms(
    test: str, source: str, claims: Sequence[bool], note: str = "", *, independent: bool = True
) -> Alarms:
    """Count claims and put an exact (Clopper-Pearson) interval around their rate.

    Trials that share runs have no such interval: pass `independent=False`.

    >>> round(count_alarms("t", "real", [False] * 20).high, 6)
    0.168433
    """
    alarms, trials = sum(claims), len(claims)
    low = high = None
    if trials and independent:
        exact = stats.binomtest(alarms, trials).proportion_ci(0.95, method="exact")
        low, high = float(exact.low), float(exact.high)
    return Alarms(
        test=test, source=source, stated=ALPHA, alarms=alarms, trials=trials, low=low, high=high, note=note
    )


def _at_most(p: float | None) -> bool:
    return p is not None and p <= ALPHA


TESTS: dict[str, Callable[[Floats], bool]] = {
    "t test (95 % interval without 0)": lambda d: _at_most(paired_t_p(d)),
    "exact sign flip": lambda d: _at_most(sign_flip_p(d)),
    f"equivalence within {100 * MARGIN:g} points, true loss {100 * MARGIN:g}": lambda d: _at_most(
        equivalence_p(d - MARGIN, MARGIN)
    ),
}
"""Name -> whether the test claims something of differences that are nothing but noise."""


def disjoint(value_s: Floats, n: int) -> list[Floats]:
    """Cut runs into comparisons of n pairs with no run in two of them: (n,) differences each."""
    difference = value_s[: len(value_s) // 2 * 2]
    difference = difference[0::2] - difference[1::2]
    return [difference[at : at + n] for at in range(0, len(difference) - n + 1, n)]


def gate_decisions(difference_s: Floats, shift: float = 0.0) -> list[tuple[Verdict, int]]:
    """Gate after gate on one stream of pairs, each on fresh ones, as many as it asks for: (verdict, pairs).

    A gate at the end that the stream is too short for is dropped before it is begun, so none is left out
    because of what it would have said.
    """
    found = []
    at = 0
    while len(difference_s) - at >= LOOKS[-1]:
        decision = decide(difference_s[at : at + LOOKS[-1]] + shift)
        found.append((decision.verdict, decision.n))
        at += decision.n
    return found


def false_alarms(
    value_s: ArrayLike, generator: np.random.Generator, *, sizes: Sequence[int] = (5, 10), trials: int
) -> list[Alarms]:
    """Try every test in use on real runs, each run once per test, and on simulated differences.

    Args:
        value_s: (S,) endpoint of each run of one arm.
        generator: draws the simulated differences.
        sizes: numbers of pairs.
        trials: simulated comparisons per test.
    """
    value = np.asarray(value_s, dtype=np.float64)
    spread = float(np.sqrt(2) * value.std(ddof=1))
    found = []
    for n in sizes:
        made = {
            "real": disjoint(value, n),
            "simulated": list(generator.normal(0.0, spread, (trials, n))),
        }
        for source, comparisons in made.items():
            for name, test in TESTS.items():
                found.append(count_alarms(f"{name}, {n} pairs", source, [test(d) for d in comparisons]))
            found.append(
                count_alarms(
                    f"any of {HOLM_TASKS} t tests after Holm, {n} pairs", source, _families(comparisons)
                )
            )
    return found + _gate_alarms(value, generator, trials)


def _families(comparisons: Sequence[Floats]) -> list[bool]:
    """Return for each family of comparisons whether any of them is claimed."""
    ps = [paired_t_p(difference) for difference in comparisons]
    whole = range(0, len(ps) - HOLM_TASKS + 1, HOLM_TASKS)
    return [any(_at_most(p) for p in holm(ps[at : at + HOLM_TASKS])) for at in whole]


def _gate_alarms(value: Floats, generator: np.random.Generator, trials: int) -> list[Alarms]:
    whole = disjoint(value, len(value) // 2)
    stream = whole[0] if whole else np.zeros(0)
    anew = [
        part
        for _ in range(PAIRED_ANEW if len(value) >= 2 * LOOKS[-1] else 0)
        for part in disjoint(generator.permutation(value)[: 2 * LOOKS[-1]], LOOKS[-1])
    ]
    spread = float(np.sqrt(2) * value.std(ddof=1))
    simulated = generator.normal(0.0, spread, (trials, LOOKS[-1]))
    found = []
    for test, shift, wrong in (
        ("gate: FAIL of an unchanged trainer", 0.0, Verdict.FAIL),
        (f"gate: PASS of a loss of {100 * MARGIN:g} points", -MARGIN, Verdict.PASS),
    ):
        verdicts = {
            "real": [verdict for verdict, _ in gate_decisions(stream, shift)],
            "real, paired anew": [decide(one + shift).verdict for one in anew],
            "simulated": [decide(one + shift).verdict for one in simulated],
        }
        for source, said in verdicts.items():
            claims = [verdict is wrong for verdict in said]
            alone = source != "real, paired anew"
            found.append(count_alarms(test, source, claims, _shares(said), independent=alone))
    return found


def _shares(verdicts: Sequence[Verdict]) -> str:
    """Say how often each verdict was given."""
    names = (Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE)
    return ", ".join(f"{verdicts.count(one)} {one}" for one in names)


def seeds_needed(value_s: ArrayLike, effect: float = MARGIN, power: float = 0.8) -> int | None:
    """Return the pairs with which a paired t test finds a loss of `effect`, None where runs do not differ.

    The SD of a difference is sqrt(2) times that of a run: pairs share nothing but the items.
    """
    spread = float(np.sqrt(2) * np.asarray(value_s, dtype=np.float64).std(ddof=1))
    return pairs_needed(effect, spread, ALPHA, power) if spread > 0 else None
