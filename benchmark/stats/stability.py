"""Did a run keep what it had learnt?"""

from __future__ import annotations

COLLAPSE_GAIN = 0.03
"""A run that never rose by this much (3 points) has nothing to lose."""
COLLAPSE_SHARE = 0.5
"""Of the gain; a run that keeps less of it has collapsed."""
ROUNDING = 1e-12


def collapsed(base: float, peak: float, final: float) -> bool:
    """Return whether a run lost most of what it had gained, or more than it ever had.

        peak - base >= 0.03 and final - base < 0.5 * (peak - base),  or  final <= base - 0.03

    The definition is fixed and no setting changes it, so collapse counts compare across suites. `peak` is
    the value at the checkpoint that validation chose, not the raw maximum. Negate all three where lower is
    better.

    >>> collapsed(0.25, 0.75, 0.4375), collapsed(0.25, 0.75, 0.5), collapsed(0.25, 0.25, 0.125)
    (True, False, True)
    """
    gain, kept = peak - base, final - base
    # Accuracies are fractions: exactly half of a gain, or exactly 3 points, must not hang on a rounding.
    lost_gain = gain >= COLLAPSE_GAIN - ROUNDING and kept < COLLAPSE_SHARE * gain - ROUNDING
    return bool(lost_gain or kept <= ROUNDING - COLLAPSE_GAIN)
