"""The binary tree in whose order the gradients of slices are added."""

from __future__ import annotations

import itertools

import pytest
import torch

from scanline.training.tree import add_leaves, add_subtrees, bounds, children, subtrees

COUNTS = range(1, 18)


def vectors(count):
    """Return vectors whose sum has other bits in another order."""
    draw = torch.Generator().manual_seed(count)
    sizes = 10.0 ** torch.randint(-4, 5, (count, 50), generator=draw)
    return list(torch.randn(count, 50, generator=draw) * sizes)


def copies(values):
    return iter([value.clone() for value in values])


def parts(count, processes):
    return [bounds(count, processes, rank) for rank in range(processes)]


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [
        (8, 4, [(0, 2), (2, 4), (4, 6), (6, 8)]),
        (10, 4, [(0, 2), (2, 5), (5, 7), (7, 10)]),
        (3, 3, [(0, 1), (1, 2), (2, 3)]),
        (2, 3, [(0, 0), (0, 1), (1, 2)]),
        (7, 1, [(0, 7)]),
    ],
)
def test_bounds_divide_as_evenly_as_possible(total, count, expected):
    assert parts(total, count) == expected


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ((0, 2), ((0, 1), (1, 2))),
        ((0, 3), ((0, 2), (2, 3))),
        ((0, 8), ((0, 4), (4, 8))),
        ((3, 8), ((3, 7), (7, 8))),
        ((0, 9), ((0, 8), (8, 9))),
        ((0, 17), ((0, 16), (16, 17))),
    ],
)
def test_a_left_child_has_the_largest_power_of_two_below_the_number_of_slices(node, expected):
    assert children(node) == expected


def test_five_slices_are_added_as_worked_by_hand():
    one, two, three, four, five = vectors(5)
    expected = ((one + two) + (three + four)) + five
    assert torch.equal(add_leaves((0, 5), copies([one, two, three, four, five])), expected)


def test_the_order_of_addition_shows_in_the_bits():
    found, values = add_leaves((0, 16), copies(vectors(16))), vectors(16)
    in_turn = values[0]
    for value in values[1:]:
        in_turn = in_turn + value
    assert not torch.equal(found, in_turn)
    torch.testing.assert_close(found, in_turn)


@pytest.mark.parametrize("count", COUNTS)
def test_the_subtrees_of_any_range_are_disjoint_and_cover_it_in_order(count):
    for low in range(count):
        for high in range(low + 1, count + 1):
            nodes = list(subtrees((0, count), (low, high)))
            assert [leaf for node in nodes for leaf in range(*node)] == list(range(low, high))


@pytest.mark.parametrize("count", COUNTS)
def test_no_two_subtrees_of_a_range_are_the_children_of_one_node(count):
    def nodes(node):
        yield node
        if node[1] - node[0] > 1:
            for child in children(node):
                yield from nodes(child)

    pairs = {children(node) for node in nodes((0, count)) if node[1] - node[0] > 1}
    for low in range(count):
        for high in range(low + 1, count + 1):
            found = list(subtrees((0, count), (low, high)))
            assert not pairs & set(itertools.pairwise(found))


def test_a_range_without_slices_has_no_subtrees():
    assert list(subtrees((0, 4), (2, 2))) == []


@pytest.mark.parametrize("count", COUNTS)
def test_any_number_of_processes_adds_to_the_same_bits(count):
    values = vectors(count)
    expected = add_leaves((0, count), copies(values))
    for processes in range(1, count + 1):
        sums = {}
        for low, high in parts(count, processes):
            own = copies(values[low:high])
            for node in subtrees((0, count), (low, high)):
                sums[node] = add_leaves(node, own)
            assert next(own, None) is None
        assert torch.equal(add_subtrees((0, count), sums), expected)
