"""Pictures of a suite: PNG to look at, SVG to print, readable without colour, the same bytes each time."""

from __future__ import annotations

from benchmark.plots.gallery import draw_pictures

__all__ = ["draw_pictures"]
