"""Windows of a grid: a case by hand, and what must hold for every grid."""

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from regard.networks.attention.windows import Windows

grids = st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 8))


def windows_of(rows: int, columns: int, side: int) -> Windows:
    return Windows(rows, columns, side, -(-rows // side), -(-columns // side))


def test_a_grid_of_two_by_three_in_windows_of_two_by_hand() -> None:
    windows = Windows.of(2, 3, count=2, tokens=4)
    assert windows == Windows(2, 3, side=2, down=1, across=2)
    x = torch.tensor([[[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]]])  # 1 2 3 over 4 5 6
    cut = windows.cut(x)
    assert cut[..., 0].tolist() == [[1, 2, 4, 5], [3, 0, 6, 0]]  # the second reaches beyond the grid
    assert windows.join(cut).equal(x)
    weights = torch.arange(32.0).view(2, 1, 4, 4)  # (windows, heads, query, key)
    right = [
        [0, 1, 0, 2, 3, 0],
        [4, 5, 0, 6, 7, 0],
        [0, 0, 16, 0, 0, 18],
        [8, 9, 0, 10, 11, 0],
        [12, 13, 0, 14, 15, 0],
        [0, 0, 24, 0, 0, 26],
    ]
    assert windows.full(weights, 1)[0, 0].tolist() == right
    assert windows.some(weights, 1, [5, 0])[0, 0].tolist() == [right[5], right[0]]
    mean = [sum(column) / 6 for column in zip(*right, strict=True)]
    assert torch.allclose(windows.mean(weights, 1)[0, 0, 0], torch.tensor(mean))


def test_what_is_and_what_is_no_window() -> None:
    assert Windows.of(14, 14, count=1, tokens=196) is None  # the whole grid
    assert Windows.of(3, 5, count=1, tokens=15) is None
    assert Windows.of(3, 3, count=1, tokens=9, prefix=4) is None  # a pooling that leaves the prefix out
    assert Windows.of(3, 5, count=1, tokens=16, prefix=1) is None  # CLS, and by chance a square number
    assert Windows.of(4, 6, count=1, tokens=25) is None  # no square of 5 holds 6 columns
    assert Windows.of(3, 5, count=1, tokens=36) == Windows(3, 5, side=6, down=1, across=1)  # one, larger than the grid
    assert Windows.of(64, 64, count=25, tokens=196) == Windows(64, 64, side=14, down=5, across=5)
    assert Windows.of(64, 64, count=24, tokens=196) is None


def attention(windows: Windows, batch: int) -> Tensor:
    count, tokens = windows.down * windows.across, windows.side**2
    generator = torch.Generator().manual_seed(windows.rows * 64 + windows.columns * 8 + windows.side)
    return torch.randn(batch * count, 2, tokens, tokens, generator=generator, dtype=torch.float64).softmax(-1)


@settings(max_examples=60, deadline=None)
@given(grids, st.integers(1, 3))
def test_cut_and_join_undo_each_other_and_keep_every_patch_once(grid: tuple[int, int, int], batch: int) -> None:
    windows = windows_of(*grid)
    patches = windows.rows * windows.columns
    x = torch.arange(1.0, batch * patches * 2 + 1).view(batch, patches, 2)
    cut = windows.cut(x)
    assert cut.shape == (batch * windows.down * windows.across, windows.side**2, 2)
    assert windows.join(cut).equal(x)
    assert sorted(cut[cut > 0].tolist()) == x.flatten().tolist()
    count = windows.down * windows.across
    assert Windows.of(windows.rows, windows.columns, count, windows.side**2) in (windows, None)


@settings(max_examples=60, deadline=None)
@given(grids, st.integers(1, 2), st.data())
def test_full_attention_does_what_the_windows_do(grid: tuple[int, int, int], batch: int, data: st.DataObject) -> None:
    windows = windows_of(*grid)
    patches, weights = windows.rows * windows.columns, attention(windows, batch)
    whole = windows.full(weights, batch)
    assert whole.shape == (batch, 2, patches, patches)
    values = torch.randn(batch, patches, 3, dtype=torch.float64)
    inside = windows.join(weights[:, 0] @ windows.cut(values))  # padding holds zeros, so it adds nothing
    assert torch.allclose(whole[:, 0] @ values, inside)
    assert bool((whole.sum(-1) <= 1 + 1e-9).all())
    if windows.rows % windows.side == windows.columns % windows.side == 0:
        assert torch.allclose(whole.sum(-1), torch.ones(batch, 2, patches, dtype=torch.float64))
    chosen = data.draw(st.lists(st.integers(0, patches - 1), min_size=1, max_size=4))
    assert windows.some(weights, batch, chosen).equal(whole[:, :, chosen])
    assert torch.allclose(windows.mean(weights, batch), whole.mean(dim=2, keepdim=True))


@settings(max_examples=40, deadline=None)
@given(grids)
def test_patches_of_different_windows_do_not_see_each_other(grid: tuple[int, int, int]) -> None:
    windows = windows_of(*grid)
    whole = windows.full(attention(windows, 1), 1)[0, 0]
    assume(windows.down * windows.across > 1)
    for query in range(len(whole)):
        for key in range(len(whole)):
            same = all(
                a // windows.side == b // windows.side
                for a, b in zip(divmod(query, windows.columns), divmod(key, windows.columns), strict=True)
            )
            assert (whole[query, key] > 0) == same
