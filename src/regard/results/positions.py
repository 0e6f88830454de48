"""What is written of positions: their numbers as JSON and as a table, and what tells the files of several apart."""

import math
from collections.abc import Sequence
from typing import Any

from regard.records import Positions

COLUMNS = ("value", "p", "control", "before")


def endings(results: Sequence[Positions]) -> list[str]:
    """What sets the files of each apart: nothing for the first, their kind for others, and their grid where need be."""
    kinds = [each.kind for each in results]
    repeated = [
        f"-{each.kind}" if kinds.count(each.kind) == 1 else f"-{each.kind}-{each.rows}x{each.columns}"
        for each in results
    ]
    return ["", *repeated[1:]]


def numbers_of(positions: Positions) -> dict[str, Any]:
    """Kind, source, grid, mean similarities and tested numbers, with null where a number is not defined or known."""
    return {
        "kind": positions.kind,
        "source": positions.source,
        "rows": positions.rows,
        "columns": positions.columns,
        "means": _finite(positions.numbers),
        "numbers": {name: _finite(row) for name, row in positions.tested.items()},
        "control": positions.note or None,
    }


def _finite(numbers: Any) -> dict[str, float | None]:
    return {name: float(value) if math.isfinite(value) else None for name, value in numbers.items()}


def table(positions: Positions) -> str:
    """Number, value, p, control and before; a column that is empty is left out."""
    columns = [name for name in COLUMNS if any(math.isfinite(row[name]) for row in positions.tested.values())]
    head = f"{positions.rows} × {positions.columns} positions, {positions.kind}: {positions.source}"
    lines = [head, f"{'number':>20}" + "".join(f"{name:>9}" for name in columns)]
    for name, row in positions.tested.items():
        cells = (f"{row[column]:.3f}" if math.isfinite(row[column]) else "–" for column in columns)
        lines.append(f"{name.replace('_', ' '):>20}" + "".join(f"{cell:>9}" for cell in cells))
    return "\n".join([*lines, *([f"{'control':>20}  {positions.note}"] if positions.note else []), ""])
