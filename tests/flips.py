"""Scores of five items by hand: two arms, two seeds, what training turned and turned back."""

from __future__ import annotations

import math

import pandas as pd


def item_scores(cells, task="sums", split="test"):
    """Make scores of items: (arm, seed, step) -> one digit per item, 1 where it is right, - ungraded."""
    records = [
        {"arm": arm, "seed": pd.NA if arm == "base" else seed, "step": step, "task": task, "split": split}
        | {"item": f"i{at}", "cluster": f"i{at}", "n": int(digit != "-")}
        | {"mean": math.nan if digit == "-" else float(digit)}
        for (arm, seed, step), digits in cells.items()
        for at, digit in enumerate(digits)
    ]
    return pd.DataFrame(records).astype({"seed": "Int64"})


SCORES = item_scores(
    {
        ("base", 0, 0): "00011",
        ("grpo", 0, 10): "01010",
        ("grpo", 0, 20): "10010",
        ("grpo", 1, 10): "00011",
        ("grpo", 1, 20): "00011",
        ("lambda_grpo", 0, 10): "11111",
        ("lambda_grpo", 0, 20): "11101",
        ("lambda_grpo", 1, 10): "00000",
        ("lambda_grpo", 1, 20): "10000",
    }
)
