"""The order in which the gradients of a batch's slices are added: a binary tree.

The slices lo to hi - 1 are the node (lo, hi). Its left child has as many of them as the largest power of two
below their number, its right child the others. Addition of floating-point numbers is not associative. The
tree depends on the number of slices alone, not on who has computed which, so that the sum has the same bits
for any number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

Node = tuple[int, int]


def bounds(total: int, parts: int, index: int) -> tuple[int, int]:
    """Return the first and the end of part `index` if `total` things are divided as evenly as possible."""
    return index * total // parts, (index + 1) * total // parts


def children(node: Node) -> tuple[Node, Node]:
    """Return the two children of a node of at least two slices."""
    low, high = node
    middle = low + (1 << (high - low - 1).bit_length() - 1)
    return (low, middle), (middle, high)


def subtrees(node: Node, own: Node) -> Iterator[Node]:
    """Yield the largest nodes below `node` that lie within the slices `own`, from the left."""
    if own[0] <= node[0] and node[1] <= own[1]:
        yield node
    elif node[0] < own[1] and own[0] < node[1]:
        for child in children(node):
            yield from subtrees(child, own)


def add_leaves(node: Node, vectors: Iterator[Tensor]) -> Tensor:
    """Return the sum of a node's slices, whose vectors come in order; the first ones are overwritten."""
    if node[1] - node[0] == 1:
        return next(vectors)
    left, right = children(node)
    total = add_leaves(left, vectors)
    total += add_leaves(right, vectors)
    return total


def add_subtrees(node: Node, sums: Mapping[Node, Tensor]) -> Tensor:
    """Return the sum of a node, from the sums of subtrees that make it up; some of them are overwritten."""
    if node in sums:
        return sums[node]
    left, right = children(node)
    total = add_subtrees(left, sums)
    total += add_subtrees(right, sums)
    return total
