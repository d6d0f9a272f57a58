"""Why a gate ends without a decision about learning, each with its exit code (design.md, section 4)."""

from __future__ import annotations

from tasks.errors import INFRASTRUCTURE

PASS, REGRESSION, INCONCLUSIVE, TOO_LITTLE, INTEGRITY = 0, 1, 3, 5, 6
CODES = {
    "pass": PASS,
    "fail": REGRESSION,
    "inconclusive": INCONCLUSIVE,
    "too little": TOO_LITTLE,
    "integrity": INTEGRITY,
    "infrastructure": INFRASTRUCTURE,
}
"""Outcome -> exit code. 2 is a usage error, as everywhere."""


class GateStop(Exception):
    """The gate cannot judge. The message is one line: value, rule, remedy."""

    outcome = ""


class IntegrityError(GateStop):
    """Candidate and baseline do not compare, or one of them is not what it says."""

    outcome = "integrity"


class TooLittleError(GateStop):
    """There is nothing to judge, or too little."""

    outcome = "too little"
