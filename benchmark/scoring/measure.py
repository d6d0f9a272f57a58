"""The grades of one unit to the numbers of its rows: counts checked, reduced to items, averaged over them.

`tasks.sampled` defines every metric for one item; here all items of a unit are reduced at once, to the same
bits. A unit is read, reduced and let go, so memory does not grow with the number of units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from benchmark.stats import item_standard_error
from tasks.errors import UserError
from tasks.majority import majority_shares
from tasks.sampled import metric_names, pass_at_k, subset_sizes
from tasks.schema import Problem, Status

Columns = dict[str, object]
READ = ("item", "index", "status", "score", "found", "vote", "tokens")
"""The columns of grades that a row needs."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The grades of a unit, items down and samples across, in the order of the problems."""

    score_ik: np.ndarray
    """1, 0, or NaN where the grader could not tell."""
    vote_ik: np.ndarray
    """Wrong answers by number, the same number for the same answer; -1 for right ones and for no vote."""
    status_ik: np.ndarray
    """Place in `list(Status)`."""
    loose_ik: np.ndarray
    tokens_ik: np.ndarray


def arrange(table: pa.Table, problems: Sequence[Problem], count: int, what: str) -> Samples:
    """Put the grades of a unit in their places; samples beyond `count` are left out.

    Missing is not wrong: every item must have exactly its samples before any mean is taken.

    Args:
        table: the columns `READ` of `benchmark.scoring.grades`.
        problems: of the split, all of them.
        count: samples per item.
        what: names the unit in errors.

    Raises:
        UserError: a sample is missing, stands there twice, or is of another item.
    """
    cell_s = check_counts(table, problems, count, what)
    order_c = np.argsort(cell_s, kind="stable")[: len(problems) * count]

    def arranged(value_s: np.ndarray) -> np.ndarray:
        return value_s[order_c].reshape(len(problems), count)

    score_ik = arranged(table["score"].cast(pa.float64()).to_numpy())
    status_s, statuses = _codes(table, "status")
    vote_s, votes = _codes(table, "vote")
    silent_s = np.array([name == "" for name in votes], dtype=bool)[vote_s]
    found_s, found = _codes(table, "found")
    loose_s = np.array([*(name == "loose" for name in found), False])[found_s]
    return Samples(
        score_ik=score_ik,
        vote_ik=np.where(arranged(silent_s) | (score_ik != 0), -1, arranged(vote_s)),
        status_ik=arranged(np.array([list(Status).index(Status(name)) for name in statuses])[status_s]),
        loose_ik=arranged(loose_s),
        tokens_ik=arranged(table["tokens"].to_numpy()),
    )


def measure(samples: Samples, clusters: Sequence[str] | None) -> list[Columns]:
    """Return the measured columns of one row per metric.

    Args:
        samples: of one unit.
        clusters: of every item (`item_clusters`).
    """
    count = samples.score_ik.shape[1]
    statuses = dict(zip(Status, np.bincount(samples.status_ik.ravel(), minlength=len(Status)), strict=True))
    shared: Columns = {
        "n_asked": len(samples.score_ik),
        "n_samples": count,
        "n_loose": int(samples.loose_ik.sum()),
        "n_unparsed": int(statuses[Status.UNPARSED]),
        "n_truncated": int(statuses[Status.TRUNCATED]),
        "n_ungraded": int(statuses[Status.BAD_GOLD] + statuses[Status.ERROR]),
        "mean_tokens": float(np.mean(samples.tokens_ik)),
    }
    return [
        shared | {"metric": name} | _mean(value_i, clusters)
        for name, value_i in item_metrics(samples).items()
    ]


def item_metrics(samples: Samples) -> dict[str, np.ndarray]:
    """Return what `tasks.sampled.sample_metrics` gives for every item: name -> (items,), NaN for None."""
    score_ik = samples.score_ik
    count, sizes = score_ik.shape[1], subset_sizes(score_ik.shape[1])
    known_i, right_i = (~np.isnan(score_ik)).sum(axis=1), (score_ik == 1).sum(axis=1)
    metrics = {"accuracy": np.where(known_i > 0, right_i / np.maximum(known_i, 1), np.nan)}
    if sizes:
        pair_p, pair_i = np.unique(known_i * (count + 1) + right_i, return_inverse=True)
        pairs = [divmod(int(pair), count + 1) for pair in pair_p]
        majority_is = _majorities(known_i, right_i, samples.vote_ik, sizes)
        for at, k in enumerate(sizes):
            pass_p = np.array([pass_at_k(n, right, k) if k <= n else np.nan for n, right in pairs])
            metrics |= {f"pass@{k}": pass_p[pair_i], f"maj@{k}": majority_is[:, at]}
    return metrics


def not_measured(engine: str, count: int, reason: str) -> list[Columns]:
    """Return the columns of rows that could not be measured: null, never 0, and why."""
    shared: Columns = {
        **dict.fromkeys(("n_items", "n_asked", "n_unparsed", "n_truncated", "n_ungraded"), 0),
        **dict.fromkeys(("value", "stderr", "mean_tokens", "wall_s")),
        "n_samples": count,
        "engine": engine,
        "device": "",
        "sample_key": "",
        "missing": reason,
    }
    return [shared | {"metric": name} for name in metric_names(count)]


def item_clusters(problems: Sequence[Problem]) -> list[str] | None:
    """Return the cluster of every item; None where each stands for itself."""
    if not any(problem.cluster for problem in problems):
        return None
    return [problem.cluster or problem.id for problem in problems]


def _codes(table: pa.Table, name: str) -> tuple[np.ndarray, list[str]]:
    """Return a column of names as numbers, -1 for null, and the names."""
    column = table[name].unify_dictionaries().combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # of an empty table
        return np.zeros(0, dtype=np.int64), []
    return column.indices.fill_null(-1).to_numpy(), column.dictionary.to_pylist()


def check_counts(table: pa.Table, problems: Sequence[Problem], count: int, what: str) -> np.ndarray:
    """Refuse grades that are not exactly one for every sample; arguments and errors as `arrange`.

    Returns:
        (lines,) the place of each line among items x samples; items x samples for a sample beyond `count`.
    """
    place_i = {problem.id: at for at, problem in enumerate(problems)}
    item_s, items = _codes(table, "item")
    if foreign := [name for name in items if name not in place_i]:
        raise UserError(
            f"{what}: grades of {foreign[0]!r}, which is none of its {len(problems)} items; "
            "delete the file of grades and its texts, and run the suite again"
        )
    index_s = table["index"].to_numpy()
    cell_s = np.array([place_i[name] for name in items], dtype=np.int64)[item_s] * count + index_s
    cell_s = np.where(index_s < count, cell_s, len(problems) * count)  # one cell more for what is not asked
    held_c = np.bincount(cell_s, minlength=len(problems) * count + 1)[:-1]
    if wrong := np.flatnonzero(held_c != 1).tolist():
        item, index = divmod(wrong[0], count)
        fault = "do not have one grade each" if held_c[wrong[0]] else "have no grade"
        raise UserError(
            f"{what}: {len(wrong)} of {len(problems)} items x {count} samples {fault}, the first of them "
            f"sample {index} of {problems[item].id}; run `python -m benchmark generate SUITE`, then `score`"
        )
    return cell_s


def _majorities(
    known_i: np.ndarray, right_i: np.ndarray, vote_ik: np.ndarray, sizes: Sequence[int]
) -> np.ndarray:
    """Return maj@k of every item and k; items with equally many votes of each kind are counted once."""
    others_iv = _vote_counts(vote_ik)
    blank_i = known_i - right_i - others_iv.sum(axis=1)
    made_of, item_i = np.unique(np.column_stack([right_i, blank_i, others_iv]), axis=0, return_inverse=True)
    shares = majority_shares(made_of[:, 0], made_of[:, 2:], made_of[:, 1], sizes)
    return np.asarray(shares[item_i])


def _vote_counts(vote_ik: np.ndarray) -> np.ndarray:
    """Return how often each wrong answer of an item was given: (items, most different ones), descending."""
    item_n, _ = np.nonzero(vote_ik >= 0)
    width = int(vote_ik.max(initial=0)) + 1
    pair_p, count_p = np.unique(item_n * width + vote_ik[vote_ik >= 0], return_counts=True)
    item_p = pair_p // width
    order_p = np.lexsort((-count_p, item_p))
    item_p, count_p = item_p[order_p], count_p[order_p]
    rank_p = np.arange(len(item_p)) - np.searchsorted(item_p, item_p)
    counts_iv = np.zeros((len(vote_ik), int(rank_p.max(initial=-1)) + 1), dtype=np.int64)
    counts_iv[item_p, rank_p] = count_p
    return counts_iv


def _mean(value_i: np.ndarray, clusters: Sequence[str] | None) -> Columns:
    """Average one metric over the items that have it."""
    known_i = np.flatnonzero(~np.isnan(value_i))
    groups = None if clusters is None else [clusters[at] for at in known_i]
    return {
        "n_items": len(known_i),
        "value": float(np.mean(value_i[known_i])) if len(known_i) else None,
        "stderr": item_standard_error(value_i[known_i], groups),
    }
