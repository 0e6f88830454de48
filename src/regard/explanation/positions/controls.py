"""What random positions would show, interpolated as a checkpoint's were: without it any smooth grid looks like a find.

Most networks for large pictures were trained on small ones first, and their positions interpolated to the larger grid.
That alone makes neighbours alike: random embeddings of 14 × 14 resized to 24 × 24 have a neighbour cosine of 0.62
(bicubic) to 0.67 (bilinear).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from timm.layers import resample_abs_pos_embed
from torch.nn import functional as F

from regard.errors import UsageError, unknown
from regard.explanation.positions import INTERPOLATIONS
from regard.explanation.positions.arrangement import Arrangement, OffsetArrangement, PairArrangement
from regard.networks.anatomy.encodings import Encoding

Array = NDArray[np.float64]
Pair = tuple[int, int]

PRETRAINED = 224
"""The side of the pictures that nearly all published networks for larger ones were trained on before."""

DRAWS = 20
FEW_DRAWS = 3
MANY = 1600
"""How many random positions make a control; FEW_DRAWS where there are more than MANY patches."""


@dataclass(frozen=True)
class Control:
    """Random positions in the place of `encoding`'s, sampled on the grid `source` and interpolated to its own.

    Embeddings are sampled from a normal distribution, as they are before any training; a bias table likewise, with the
    spread of the one it stands for. `source` None: on the encoding's own grid.
    """

    encoding: Encoding
    source: Pair | None = None
    interpolation: str = "bicubic"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise unknown("interpolation", self.interpolation, INTERPOLATIONS)
        if self.source is not None and min(self.source) < 1:
            raise UsageError(f"the grid interpolated from is {self.source}; rows and columns go from 1")

    @property
    def description(self) -> str:
        kind = "embeddings" if self.encoding.kind == "embeddings" else "tables"
        rows, columns = self._source
        grid = f"{rows} × {columns}"
        if self._source != self._grid:
            grid += f", interpolated to {self._grid[0]} × {self._grid[1]} ({self.interpolation})"
        return f"mean of {self._draws} random {kind} of {grid}"

    def numbers(self) -> dict[str, tuple[float, float, float]]:
        """Each number's mean over random draws, the lowest and the highest."""
        samples = [arrangement.numbers() for arrangement in self._arrangements()]
        spreads = {}
        for name in samples[0] if samples else ():
            values = [numbers[name] for numbers in samples]
            spreads[name] = float(np.mean(values)), float(np.min(values)), float(np.max(values))
        return spreads

    @property
    def _draws(self) -> int:
        return DRAWS if self.encoding.rows * self.encoding.columns <= MANY else FEW_DRAWS

    @property
    def _grid(self) -> Pair:
        return self.encoding.rows, self.encoding.columns

    @property
    def _source(self) -> Pair:
        return self.source or self._grid

    def _arrangements(self) -> Iterator[Arrangement]:
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self._draws):
            if self.encoding.kind == "embeddings":
                yield self._embeddings(generator)
            elif self.encoding.kind == "relative":
                yield OffsetArrangement(self._table(generator))

    def _embeddings(self, generator: torch.Generator) -> Arrangement:
        rows, columns, width = self.encoding.values.shape
        random = resized_embeddings(
            torch.randn(*self._source, width, generator=generator).numpy(), (rows, columns), self.interpolation
        ).reshape(rows * columns, width)
        unit = random / np.linalg.norm(random, axis=1, keepdims=True)
        return PairArrangement(unit @ unit.T, rows, columns, random)

    def _table(self, generator: torch.Generator) -> Array:
        sides = [2 * side - 1 for side in self._source]
        random = torch.randn(1, *sides, generator=generator).numpy()
        random = resized_table(random, self._grid, self.interpolation)[0]
        return random * (self.encoding.values.mean(axis=(0, 1)).std() / max(random.std(), 1e-12))


def resized_embeddings(embeddings: NDArray[np.floating], grid: Pair, interpolation: str = "bicubic") -> Array:
    """(rows, columns, width) on another grid, as timm interpolates positional embeddings."""
    rows, columns, width = embeddings.shape
    flat = torch.from_numpy(np.asarray(embeddings)).reshape(1, rows * columns, width)
    resized = resample_abs_pos_embed(
        flat, list(grid), [rows, columns], num_prefix_tokens=0, interpolation=interpolation
    )
    return resized[0].double().numpy().reshape(*grid, width)


def resized_table(kernel: NDArray[np.floating], grid: Pair, interpolation: str = "bicubic") -> Array:
    """A bias (heads, 2·rows - 1, 2·columns - 1) for another grid: the table interpolated as a picture."""
    shape = (2 * grid[0] - 1, 2 * grid[1] - 1)
    resized = F.interpolate(torch.from_numpy(np.asarray(kernel, np.float32))[None], shape, mode=interpolation)
    return resized[0].double().numpy()


def pretraining_grid(rows: int, columns: int, patch: Pair) -> Pair | None:
    """The grid that one of `rows` × `columns` patches of (height, width) pixels was probably grown from, if any."""
    before = PRETRAINED // patch[0], PRETRAINED // patch[1]
    return before if min(before) > 0 and (rows > before[0] or columns > before[1]) else None
