"""Maps on their way to the disk: a result folder's arrays and manifest, or one Parquet file with a row a picture."""

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regard.errors import DataError
from regard.files import exchange, put_file, readable, reading
from regard.records import Completeness, Explanation, Float, Heatmap, RemovalCurve
from regard.records.manifest import AGAIN
from regard.results.parquet import ARRAY, GRID, LONG_ARRAY, grid_of, grid_row, read_rows, write_rows
from regard.results.writer import ResumableWriter

HEADER = 128
"""Bytes of a .npy header for three axes, which leaves room for any length of the first."""
KIND = "explanation"
SUMS = ("logit", "baseline", "rest", "prefix", "biases", "sum", "gap")
"""What stands of a `Completeness` in columns, all null where a map has none."""
PATCHES = ("patch_rows", "patch_columns")
"""How many patches there are; `rows` and `columns` are those of the map, which may be finer."""
CURVE = {"srg": "float64", "curve_target": "int32", "curve_occluder": "string", "mif": LONG_ARRAY, "lif": LONG_ARRAY}
"""The columns of a `RemovalCurve`, only where every map has one."""
_ABOUT = ("method", "signed", "settings", "provenance", "classes")


class MapWriter(ResumableWriter):
    """Maps on their way into an explanation: what `regard explain` leaves when it is stopped."""

    command = "explain"
    flush_every = 32

    def append(self, heatmap: Heatmap) -> None:
        """Write a map, which counts only when it is committed."""
        self.write("maps.npy", np.ascontiguousarray(heatmap.values, "<f4").tobytes())
        if heatmap.error is not None:
            self.write("errors.npy", np.ascontiguousarray(heatmap.error, "<f4").tobytes())
        self.add(heatmap.as_json())

    def header(self, name: str) -> bytes:
        return bytes(HEADER) if name.endswith(".npy") else b""  # the number of maps is known in the end

    def heatmaps(self) -> Iterator[Heatmap]:
        """The maps, in order, read from the disk one by one."""
        if not self.n:
            return
        self.flush()
        with (self.folder / "maps.npy").open("rb") as maps:
            errors = (self.folder / "errors.npy").open("rb") if self.has_errors else io.BytesIO()
            with errors:
                maps.seek(HEADER)
                errors.seek(HEADER)
                for entry in self.entries():
                    shape = _shape(entry)
                    error = _read_map(errors, shape) if self.has_errors else None
                    yield Heatmap.from_json(entry, _read_map(maps, shape), error)

    @property
    def has_errors(self) -> bool:
        """Whether every map has its standard error."""
        sizes = self._committed.sizes
        return sizes.get("errors.npy", 0) == sizes.get("maps.npy", -1)

    def finish_folder(self, about: Explanation, out: Path) -> None:
        """Give the arrays their headers, write the manifest of `about`, and put the folder in its place."""
        header = npy_header((self.n, *_shape(next(self.entries()))))
        for name in ("maps.npy", "errors.npy")[: 2 if self.has_errors else 1]:
            with self.finish(name).open("r+b") as file:
                file.write(header)
                file.flush()
                os.fsync(file.fileno())
            (self.folder / name).replace(self.result / name)
        about.write_manifest(self.result, self.entries())
        exchange(self.result, out)
        self.remove()

    def finish_table(self, about: Explanation, out: Path, filenames: Mapping[str, str]) -> None:
        """Write a Parquet file of the maps and put it in its place; `filenames` are the user's, by the names."""
        path = self.folder / "maps.parquet"
        curves = next(self.heatmaps()).curve is not None
        write_table(path, self.heatmaps(), about, self.has_errors, filenames, curves)
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        put_file(path, out)
        self.remove()


def _shape(entry: Mapping[str, Any]) -> tuple[int, int]:
    """Rows and columns of a map: the grid's, or, of one that is finer, its own."""
    rows, columns = entry.get("shape") or (entry["grid"]["rows"], entry["grid"]["columns"])
    return rows, columns


def _read_map(file: Any, shape: tuple[int, int]) -> Float:
    """The next map of a file."""
    content = file.read(4 * shape[0] * shape[1])
    return np.frombuffer(content, "<f4").reshape(shape).astype(np.float32)


def npy_header(shape: tuple[int, int, int]) -> bytes:
    """What `numpy.save` writes before a float32 array of this shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    header = file.getvalue()
    if len(header) != HEADER:
        raise DataError(f"numpy writes headers of {len(header)} bytes where {HEADER} were kept free; report this")
    return header


def write_table(
    path: Path,
    heatmaps: Iterable[Heatmap],
    about: Explanation,
    errors: bool = False,
    filenames: Mapping[str, str] | None = None,
    curves: bool = False,
) -> None:
    """Write a row for each map; `about` is an explanation whose maps are left aside, and becomes the file's metadata.

    With `errors` there is a column of standard errors, with `curves` those of removal curves. `filename` is what
    `filenames` has for a name, else the name.
    """
    columns = {"name": "string", "filename": "string"}
    for name in ("target", "against", "predicted"):
        columns |= {name: "int32", f"{name}_name": "string"}
    columns |= {"seen": "bool", **GRID, **dict.fromkeys(PATCHES, "int32")}
    columns |= dict.fromkeys(map(_sums_column, SUMS), "float64")
    columns |= CURVE if curves else {}
    columns |= {"map": ARRAY, **({"error": ARRAY} if errors else {})}
    names: dict[int | None, str] = dict(enumerate(map(readable, about.classes)))
    rows = (_row(heatmap, names, filenames or {}) for heatmap in heatmaps)
    repeated = [name for name in columns if name.endswith("_name")]  # few and repeated, unlike all others
    facts = {name: getattr(about, name) for name in _ABOUT} | ({"verdict": about.verdict} if about.verdict else {})
    write_rows(path, rows, columns, repeated, KIND, facts)


def _row(heatmap: Heatmap, names: Mapping[int | None, str], filenames: Mapping[str, str]) -> dict[str, Any]:
    target, against = heatmap.target if isinstance(heatmap.target, tuple) else (heatmap.target, None)
    indices = {"target": target, "against": against, "predicted": heatmap.predicted}
    return {
        "name": readable(heatmap.name),
        "filename": readable(filenames.get(heatmap.name, heatmap.name)),
        **indices,
        **{f"{which}_name": names.get(index) for which, index in indices.items()},
        "seen": heatmap.seen,
        **grid_row(heatmap.grid),
        **{_sums_column(name): getattr(heatmap.completeness, name, None) for name in SUMS},
        **(
            {}
            if (curve := heatmap.curve) is None
            else dict(zip(CURVE, (curve.srg, curve.target, curve.occluder, curve.mif, curve.lif), strict=True))
        ),
        "rows": heatmap.values.shape[0],
        "columns": heatmap.values.shape[1],
        **dict(zip(PATCHES, (heatmap.grid.rows, heatmap.grid.columns), strict=True)),
        "map": heatmap.values.ravel(),
        "error": None if heatmap.error is None else heatmap.error.ravel(),
    }


def _sums_column(name: str) -> str:
    """The parts of the rest are named as such; `prefix` alone is the grid's number of tokens."""
    return f"rest_{name}" if name in ("prefix", "biases") else name


def read_table(path: Path | str) -> Explanation:
    """The explanation in a Parquet file that `write_table` wrote. Raises `DataError` for another one."""
    about, rows = read_rows(path, KIND, "maps", "explain")
    with reading(path, AGAIN):
        heatmaps = tuple(map(_heatmap, rows))
        known = {name: about[name] for name in _ABOUT}
        verdict = str(about.get("verdict", ""))
        return Explanation(heatmaps, **{**known, "classes": tuple(about["classes"])}, verdict=verdict)


def _heatmap(row: Mapping[str, Any]) -> Heatmap:
    grid = grid_of(row)
    target = row["target"] if row["against"] is None else (row["target"], row["against"])
    arrays = (
        None if values is None else np.array(values, np.float32).reshape(grid.rows, grid.columns)
        for values in (row["map"], row.get("error"))
    )
    values, error = arrays
    if row.get(PATCHES[0]) is not None:  # an earlier table has none: its maps have a value a patch
        grid = replace(grid, rows=row[PATCHES[0]], columns=row[PATCHES[1]])
    completeness = None
    if row.get("logit") is not None:  # a table of version 1 has no such columns
        completeness = Completeness.from_json({name: row[_sums_column(name)] for name in SUMS})
    curve = None
    if row.get("srg") is not None:
        curve = RemovalCurve(row["curve_target"], row["curve_occluder"], tuple(row["mif"]), tuple(row["lif"]))
    more = {"completeness": completeness, "seen": bool(row.get("seen")), "curve": curve}
    return Heatmap(values, grid, row["name"], target, error, row["predicted"], **more)  # type: ignore[arg-type]
