"""Similarity of positional embeddings: against written-out cosines, and grids whose answer is known."""

import numpy as np
import pytest

from regard.errors import NetworkError
from regard.explanation.positions.analysis import positions


def _separable(rows: int, columns: int) -> np.ndarray:
    """Each row and each column has a direction of its own; an embedding is the sum of its two."""
    eye = np.eye(rows + columns)
    return eye[:rows, None] + eye[None, rows:]  # (rows, columns, rows + columns)


def test_cosines_as_written_out() -> None:
    embeddings = np.random.default_rng(0).normal(size=(3, 4, 5))
    record = positions(embeddings)
    assert record.similarity.shape == (3, 4, 3, 4)
    assert record.similarity.dtype == np.float32
    for a in np.ndindex(3, 4):
        for b in np.ndindex(3, 4):
            u, v = embeddings[a], embeddings[b]
            expected = u @ v / np.sqrt((u @ u) * (v @ v))
            assert record.similarity[(*a, *b)] == pytest.approx(expected, abs=1e-6)


def test_numbers_of_a_separable_grid_by_hand() -> None:
    numbers = positions(_separable(3, 4)).numbers
    assert numbers["same_row"] == pytest.approx(0.5)  # one of two directions shared
    assert numbers["same_column"] == pytest.approx(0.5)
    assert numbers["elsewhere"] == pytest.approx(0.0, abs=1e-12)
    assert numbers["neighbours"] == pytest.approx(0.5)
    # 66 pairs; 3 · 6 = 18 share a row, 4 · 3 = 12 a column
    assert numbers["all_pairs"] == pytest.approx(0.5 * 30 / 66)


def test_distance_decides_when_embeddings_are_points() -> None:
    place = np.stack(np.meshgrid(np.arange(5), np.arange(7), indexing="ij"), -1) / 40
    on_sphere = np.concatenate([place, np.sqrt(1 - (place**2).sum(-1, keepdims=True))], -1)
    assert positions(on_sphere).numbers["distance_spearman"] < -0.98


def test_a_single_row_has_no_columns_to_compare() -> None:
    numbers = positions(np.random.default_rng(0).normal(size=(1, 4, 3))).numbers
    assert np.isnan(numbers["same_column"])
    assert np.isnan(numbers["elsewhere"])
    assert np.isfinite(numbers["same_row"])


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(NetworkError, match="at least two patches"):
        positions(np.ones((1, 1, 3)))
    with pytest.raises(NetworkError, match="is zero"):
        positions(np.zeros((2, 2, 3)))
