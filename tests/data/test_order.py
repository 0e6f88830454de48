"""The order of pictures in shards is a pure function of (seed, epoch, position), and reads nearly in sequence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.data.order import BlockOrder, _mix, _permutation, runs_of

SIZES = st.lists(st.integers(0, 9), max_size=40)
SEEDS = st.integers(-(2**70), 2**70)


@given(sizes=SIZES, seed=SEEDS, epoch=st.integers(0, 2**40), window=st.integers(1, 50))
@settings(max_examples=150, deadline=None)
def test_any_sizes_are_permuted_and_any_position_is_reached_alone(
    sizes: list[int], seed: int, epoch: int, window: int
) -> None:
    order = BlockOrder(sizes, seed, epoch, window)
    indices = order.indices()
    assert sorted(indices.tolist()) == list(range(sum(sizes))) and len(order) == sum(sizes)
    again = BlockOrder(sizes, seed, epoch, window)
    for position in reversed(range(len(order))):  # from the end, as a training that goes on does not begin at the start
        assert again[position] == indices[position]
    with pytest.raises(IndexError):
        order[len(order)]


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=60), window=st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_no_more_blocks_are_open_than_a_window_has_and_each_is_read_once(sizes: list[int], window: int) -> None:
    blocks = np.repeat(np.arange(len(sizes)), sizes)[BlockOrder(sizes, 7, 3, window).indices()]
    first = {block: position for position, block in reversed(list(enumerate(blocks.tolist())))}
    last = {block: position for position, block in enumerate(blocks.tolist())}
    for position in range(len(blocks)):
        assert sum(first[block] <= position <= last[block] for block in first) <= window


def test_epochs_seeds_and_windows_differ_and_every_picture_can_come_anywhere() -> None:
    sizes = [5] * 12
    orders = {
        tuple(BlockOrder(sizes, seed, epoch, window).indices().tolist())
        for seed, epoch, window in [(0, 0, 4), (0, 1, 4), (1, 0, 4), (0, 0, 12)]
    }
    assert len(orders) == 4
    positions = np.array([BlockOrder([4, 4, 4], 0, epoch, 2).indices() for epoch in range(3000)]).argsort(axis=1)
    counts = np.array([np.bincount(positions[:, picture], minlength=12) for picture in range(12)])
    chi2 = ((counts - 250) ** 2 / 250).sum(axis=1)  # 11 degrees of freedom: 31.3 is the 1-in-1,000 bound
    assert chi2.max() < 36, chi2


def test_numbers_are_those_of_splitmix64_whatever_numpy_is() -> None:
    """The generator's published test values for the seed 1234567; an order that was once read stays for ever."""
    values = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    state = 1234567
    for value in values:
        assert _mix(state) == value
        state += 0x9E3779B97F4A7C15
    key = _mix(_mix(1) ^ 2)
    numbers = [_mix(key + place * 0x9E3779B97F4A7C15) for place in range(9)]
    assert _permutation((1, 2), 9).tolist() == sorted(range(9), key=numbers.__getitem__)
    assert BlockOrder([3, 1, 4, 1, 5, 9, 2, 6], 1, 2, 3).indices().tolist() == PINNED


PINNED = [
    8,
    9,
    4,
    10,
    13,
    5,
    11,
    7,
    12,
    6,
    15,
    2,
    19,
    14,
    3,
    0,
    21,
    1,
    16,
    18,
    22,
    20,
    17,
    23,
    30,
    25,
    26,
    27,
    24,
    29,
    28,
]


def test_pictures_that_do_not_lie_together_are_sorted_by_their_blocks() -> None:
    order, sizes = runs_of(["b", "a", "b", "c", "a"])
    assert order.tolist() == [0, 2, 1, 4, 3] and sizes.tolist() == [2, 2, 1]
