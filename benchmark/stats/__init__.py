"""Estimators and tests on plain arrays. No torch, no trainer; what draws takes a Generator as an argument."""

from __future__ import annotations

from benchmark.stats.interval import Interval, ratio_interval, t_interval
from benchmark.stats.items import item_standard_error
from benchmark.stats.learning import (
    Crossing,
    crossing,
    last_mean,
    normalised_auc,
    restricted_mean,
    speed_log_ratios,
    speed_ratio,
    value_at,
)
from benchmark.stats.paired import MAX_SIGN_FLIP_PAIRS, equivalence_p, holm, paired_t_p, sign_flip_p
from benchmark.stats.power import minimum_detectable_effect, pairs_needed
from benchmark.stats.stability import collapsed

__all__ = [
    "MAX_SIGN_FLIP_PAIRS",
    "Crossing",
    "Interval",
    "collapsed",
    "crossing",
    "equivalence_p",
    "holm",
    "item_standard_error",
    "last_mean",
    "minimum_detectable_effect",
    "normalised_auc",
    "paired_t_p",
    "pairs_needed",
    "ratio_interval",
    "restricted_mean",
    "sign_flip_p",
    "speed_log_ratios",
    "speed_ratio",
    "t_interval",
    "value_at",
]
