"""The process tree of a group: which completions share which prefix, and the only λ-specific code.

Completions sorted as id strings make every process set a contiguous range, so the whole tree follows from the
longest common prefix of neighbours: no G x G x T comparison, and time linear in the tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ProcessTree:
    """One node per distinct process set of a group of G completions (arXiv 2509.21154, section 3).

    Node v holds the completions `order_g[first_v[v] : last_v[v]]`, which agree on the token span
    `start_v[v] : end_v[v]` and on everything before it. Parents come before their children; node 0 is the
    root, the whole group. Identical completions are one leaf. A completion that is a strict prefix of
    another has a leaf with an empty span.
    """

    order_g: Ints
    """(G,) completion indices in lexicographic order of their token ids."""
    length_g: Ints
    """(G,) tokens of each completion, in the caller's order."""
    first_v: Ints
    last_v: Ints
    """(V,) half-open range of members in `order_g`."""
    start_v: Ints
    end_v: Ints
    """(V,) half-open token span that the node adds to its parent's prefix."""
    parent_v: Ints
    """(V,) index of the parent node; -1 for the root."""

    @property
    def size_v(self) -> Ints:
        """(V,) |λ|: the number of members, duplicates counted."""
        return self.last_v - self.first_v


def process_tree(completions: Sequence[Sequence[int] | Ints]) -> ProcessTree:
    """Build the process tree of one group from token ids, EOS included where it was produced.

    Args:
        completions: G >= 1 sequences of non-negative ids below 2**32; empty ones are allowed.

    Returns:
        The tree. Its nodes are in depth-first order.
    """
    if len(completions) == 0:
        raise ValueError("a group needs at least one completion, got none")
    rows = [np.asarray(row, dtype=np.int64) for row in completions]
    # big-endian bytes compare like the id sequences themselves, and bytes sort at memcmp speed
    keys = [row.astype(">u4").tobytes() for row in rows]
    order = sorted(range(len(rows)), key=keys.__getitem__)
    common = np.array([common_prefix(rows[a], rows[b]) for a, b in pairwise(order)], dtype=np.int64)
    length_g = np.array([len(row) for row in rows], dtype=np.int64)

    nodes: list[tuple[int, int, int, int, int]] = []
    pending = [(0, len(rows), 0, -1)]
    while pending:
        first, last, start, parent = pending.pop()
        shared = common[first : last - 1]
        end = int(shared.min()) if len(shared) else int(length_g[order[first]])
        nodes.append((first, last, start, end, parent))
        ended = int((length_g[order[first:last]] == end).sum())  # they sort first and are identical
        if ended == last - first:
            continue  # a leaf
        inner = first + 1 + np.flatnonzero(shared == end)
        cuts = [first, *inner[inner >= first + ended].tolist(), last]
        here = len(nodes) - 1
        pending.extend((low, high, end, here) for low, high in reversed(list(pairwise(cuts))))

    first_v, last_v, start_v, end_v, parent_v = np.array(nodes, dtype=np.int64).T
    return ProcessTree(
        order_g=np.array(order, dtype=np.int64),
        length_g=length_g,
        first_v=first_v,
        last_v=last_v,
        start_v=start_v,
        end_v=end_v,
        parent_v=parent_v,
    )


def common_prefix(left: Ints, right: Ints) -> int:
    """Return how many leading ids two sequences share."""
    size = min(len(left), len(right))
    differs = left[:size] != right[:size]
    return int(differs.argmax()) if differs.any() else size


def token_nodes(tree: ProcessTree) -> list[Ints]:
    """Return for every token the node whose span holds it: its process set.

    Returns:
        G arrays (len(y_i),) int64, indices into the tree's (V,) arrays, in the caller's order.
    """
    nodes = [np.empty(length, dtype=np.int64) for length in tree.length_g]
    for node, (first, last, start, end) in enumerate(spans(tree)):
        for member in tree.order_g[first:last].tolist():
            nodes[member][start:end] = node
    return nodes


def spans(tree: ProcessTree) -> list[tuple[int, int, int, int]]:
    """Return (first, last, start, end) of every node as plain integers."""
    columns = (tree.first_v, tree.last_v, tree.start_v, tree.end_v)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def process_set_sizes(tree: ProcessTree) -> list[Ints]:
    """Return |λ(i,t)| for every token: how many members, i included, share the prefix up to and with token t.

        |λ(i,t)| = #{j : len(y_j) > t and y_j[:t+1] == y_i[:t+1]}     (arXiv 2509.21154, eq. 9)

    Returns:
        G arrays (len(y_i),) int64 with values in [1, G], in the caller's order.

    >>> [size.tolist() for size in process_set_sizes(process_tree([[5, 6], [5, 7], [5]]))]
    [[3, 1], [3, 1], [3]]
    """
    sizes = [np.empty(length, dtype=np.int64) for length in tree.length_g]
    for first, last, start, end in spans(tree):
        for member in tree.order_g[first:last].tolist():
            sizes[member][start:end] = last - first
    return sizes


def node_means(tree: ProcessTree, value_g: Floats) -> Floats:
    """Average a per-completion value over the members of every node, unknown (NaN) values left out.

    With rewards this is the step reward R(λ) (arXiv 2509.21154, eq. 5), with advantages the step advantage.

    Args:
        tree: the tree of the group.
        value_g: (G,) float64.

    Returns:
        (V,) float64; NaN for a node without any known value.
    """
    ordered = value_g[tree.order_g]
    known = np.isfinite(ordered)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, ordered, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    number = count[tree.last_v] - count[tree.first_v]
    with np.errstate(invalid="ignore"):
        mean_v: Floats = (total[tree.last_v] - total[tree.first_v]) / number
    return mean_v


def node_any(tree: ProcessTree, flag_g: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (V,) whether any member of each node has its flag, given (G,) flags."""
    count = np.concatenate([[0], np.cumsum(flag_g[tree.order_g])])
    held_v: NDArray[np.bool_] = count[tree.last_v] > count[tree.first_v]
    return held_v


def leaves(tree: ProcessTree) -> Ints:
    """Return the (L,) indices of the nodes without children: one per distinct completion."""
    return np.setdiff1d(np.arange(len(tree.parent_v)), tree.parent_v)


def depths(tree: ProcessTree) -> Ints:
    """Return the (V,) number of edges between the root and each node."""
    depth_v = np.zeros(len(tree.parent_v), dtype=np.int64)
    for node in range(1, len(depth_v)):
        depth_v[node] = depth_v[tree.parent_v[node]] + 1
    return depth_v


def set_size_histogram(tree: ProcessTree) -> dict[int, int]:
    """Count tokens by |λ|: lower end of each bin -> tokens with low <= |λ| < 2 low, for powers of 2 up to
    G."""
    edges = 2 ** np.arange(len(tree.order_g).bit_length())
    tokens_v = (tree.end_v - tree.start_v) * tree.size_v
    bin_v = np.searchsorted(edges, tree.size_v, side="right") - 1
    count = np.bincount(bin_v, weights=tokens_v, minlength=len(edges))
    return {int(edge): int(number) for edge, number in zip(edges, count, strict=True)}


def tree_statistics(tree: ProcessTree) -> dict[str, float]:
    """Describe how much structure a group has (arXiv 2509.21154, section 3.2).

    Returns:
        set_size: mean |λ| over tokens; 1 means that nothing is shared and λ-GRPO equals GRPO.
        nodes_per_token: distinct prefixes / tokens, which equals the mean of 1/|λ| over tokens.
        path_depth: mean over distinct completions of the edges from root to leaf.
        intermediate: mean over completions of the share of tokens in shared (non-leaf) steps.
        intermediate_below_root: the same without the span that the whole group shares.
        flat: 1 when there is nothing between root and leaves, else 0.
        duplicates: share of completions that repeat another one of the group.
    """
    tokens = int(tree.length_g.sum())
    span_v = tree.end_v - tree.start_v
    leaf_v = leaves(tree)
    shared_g = np.empty(len(tree.order_g), dtype=np.int64)
    for leaf in leaf_v:
        shared_g[tree.order_g[tree.first_v[leaf] : tree.last_v[leaf]]] = tree.start_v[leaf]
    below_root_g = np.maximum(shared_g - tree.end_v[0], 0)
    length_g = np.maximum(tree.length_g, 1)
    depth_v = depths(tree)
    return {
        "set_size": float((span_v * tree.size_v**2).sum() / max(tokens, 1)),
        "nodes_per_token": float(span_v.sum() / max(tokens, 1)),
        "path_depth": float(depth_v[leaf_v].mean()),
        "intermediate": float((shared_g / length_g).mean()),
        "intermediate_below_root": float((below_root_g / length_g).mean()),
        "flat": float(depth_v.max() <= 1),
        "duplicates": float((tree.size_v[leaf_v] - 1).sum() / len(tree.order_g)),
    }
