"""`regard positions`: how alike the positional embeddings are, as a figure, an array and numbers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regard.app.common import open_network, provenance
from regard.errors import unknown
from regard.explanation.positions import positions as similarity_of
from regard.files import check_free, new_folder, write_file, write_json
from regard.records import Positions, write_manifest
from regard.rendering.figure import png, positions_figure

SCALES = ("shared", "each")


@dataclass(frozen=True)
class Result:
    """The similarities, and the folder they were written to."""

    positions: Positions
    out: Path


def positions(
    out: str | Path,
    model: str | Path = "pets-tiny",
    weights: str | Path | None = None,
    scale: str = "shared",
    colours: str = "viridis",
    size: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Result:
    """Cosine similarity of every positional embedding with all others, CLS left out.

    Writes `positions.png` (the grid of grids: tile (r, c) shows how alike position (r, c) is to each other one),
    `similarity.npy` (rows, columns, rows, columns; float32 in [-1, 1]) and `numbers.json`. `scale` is one colour scale
    "shared" by all tiles, or "each" its own. Raises `NetworkError` for a network without absolute positions.
    """
    if scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    check_free(out, overwrite)
    network = open_network(model, weights, size=size, device="cpu", seed=seed)
    found = similarity_of(network.positions().double().numpy(), provenance(network))
    picture = positions_figure(found, scale=scale, colours=colours)  # type: ignore[arg-type]
    with new_folder(out, overwrite) as folder:
        np.save(folder / "similarity.npy", found.similarity)
        write_file(folder / "positions.png", png(picture))
        write_json(folder / "numbers.json", numbers(found))
        write_manifest(folder, "positions", scale=scale, numbers=numbers(found), provenance=dict(found.provenance))
    return Result(found, Path(out))


def numbers(found: Positions) -> dict[str, Any]:
    """Rows, columns and the summaries, with null where a grid has no such pair."""
    summaries = {name: value if np.isfinite(value) else None for name, value in found.numbers.items()}
    return {"rows": found.rows, "columns": found.columns, **summaries}


def as_json(result: Result) -> dict[str, Any]:
    return {"out": str(result.out), **numbers(result.positions)}


def as_text(result: Result) -> str:
    found = result.positions
    lines = [f"{name.replace('_', ' '):>20}  {value:6.3f}" for name, value in found.numbers.items()]
    return "\n".join([f"{found.rows} × {found.columns} positions; mean cosine of", *lines, f"written to {result.out}"])
