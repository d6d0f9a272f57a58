"""Pictures of a suite's results: PNG to look at, SVG to print. Readable without colour, the same bytes each time."""

from __future__ import annotations

from benchmark.plots.flips import draw_flips
from benchmark.plots.forest import Effect, Scale, draw_forest
from benchmark.plots.learning import draw_learning, draw_seeds
from benchmark.plots.style import arm_styles
from benchmark.plots.tree import draw_tree, tree_statistics

__all__ = [
    "Effect",
    "Scale",
    "arm_styles",
    "draw_flips",
    "draw_forest",
    "draw_learning",
    "draw_seeds",
    "draw_tree",
    "tree_statistics",
]
