"""Estimators and tests on plain arrays. No torch, no trainer; what draws takes a Generator as an argument."""

from __future__ import annotations

from benchmark.stats.components import Components, crossed_interval, variance_components
from benchmark.stats.interval import Interval, ratio_interval, t_interval
from benchmark.stats.items import VarianceParts, item_standard_error, variance_parts
from benchmark.stats.learning import (
    Crossing,
    crossing,
    last_mean,
    normalised_auc,
    speed_log_ratios,
    value_at,
)
from benchmark.stats.paired import MAX_SIGN_FLIP_PAIRS, equivalence_p, holm, paired_t_p, sign_flip_p
from benchmark.stats.peak import MIN_DRAWS, Optimism, peak_optimism
from benchmark.stats.power import minimum_detectable_effect, pairs_needed
from benchmark.stats.secondary import (
    MIN_SEEDS,
    improvement_interval,
    improvement_probability,
    interquartile_mean,
    iqm_interval,
)
from benchmark.stats.stability import collapsed

__all__ = [
    "MAX_SIGN_FLIP_PAIRS",
    "MIN_DRAWS",
    "MIN_SEEDS",
    "Components",
    "Crossing",
    "Interval",
    "Optimism",
    "VarianceParts",
    "collapsed",
    "crossed_interval",
    "crossing",
    "equivalence_p",
    "holm",
    "improvement_interval",
    "improvement_probability",
    "interquartile_mean",
    "iqm_interval",
    "item_standard_error",
    "last_mean",
    "minimum_detectable_effect",
    "normalised_auc",
    "paired_t_p",
    "pairs_needed",
    "peak_optimism",
    "ratio_interval",
    "sign_flip_p",
    "speed_log_ratios",
    "t_interval",
    "value_at",
    "variance_components",
    "variance_parts",
]
