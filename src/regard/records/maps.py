"""Maps over pictures, and what is said of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from regard.errors import DataError
from regard.files import new_folder, reading
from regard.records.completeness import Completeness, gaps_in_words, relative_gaps
from regard.records.display import Displayed, Readable, Viewable, counted, draw
from regard.records.grid import Float, PatchGrid
from regard.records.manifest import AGAIN, read_manifest, write_long_manifest
from regard.records.removal import RemovalCurve

if TYPE_CHECKING:
    from PIL import Image

Target = int | tuple[int, int] | None
"""What a map is of: a class, one class against another, or nothing in particular."""


@dataclass(frozen=True, repr=False)
class Heatmap(Readable):
    """One map over one picture: `values` (rows, columns) float32 on `grid`, of the picture called `name`.

    `values` may be finer than the grid's patches, up to one a pixel that the network saw; `on_patches` sums them then.
    `target` is the class it is of, or (for, against); `predicted` the class that the network predicts, where that is
    known. `error` (rows, columns) float32 is the standard error of values that were sampled. `image` opens the picture,
    to be drawn at about so many pixels, where it is known; it is not saved. `completeness` says what the map and what
    it does not hold sum to: of a method that claims to be complete, unless an earlier version of regard saved the map.
    `seen`: the network was trained on this picture, as far as its run knows. `curve`, where it was asked for, is what
    becomes of the class while the map's patches go.

    >>> grid = PatchGrid.whole(2, 3, picture=(20, 30))
    >>> heatmap = Heatmap(np.zeros((2, 3), np.float32), grid, "cat.jpg", target=7)
    >>> heatmap
    cat.jpg: 2 × 3 patches, 0 to 0, of class 7
    >>> heatmap.upsampled().shape
    (20, 30)
    >>> Heatmap.from_json(heatmap.as_json(), heatmap.values).target
    7
    """

    values: Float
    grid: PatchGrid
    name: str
    target: Target = None
    error: Float | None = None
    predicted: int | None = None
    image: "Callable[[int], Image.Image] | None" = field(default=None, repr=False, compare=False)
    completeness: Completeness | None = None
    seen: bool = False
    curve: RemovalCurve | None = None

    def __str__(self) -> str:
        ends = f"{self.values.min():.3g} to {self.values.max():.3g}" if self.values.size else "no values"
        target = "" if self.target is None else f", of class {' against '.join(map(str, np.atleast_1d(self.target)))}"
        sums = "" if self.completeness is None else f"; {self.completeness}"
        curve = "" if self.curve is None else f"; {self.curve}"
        return f"{self.name}: {self.size_in_words}, {ends}{target}{sums}{curve}{'; seen in training' * self.seen}"

    @property
    def size_in_words(self) -> str:
        """ "14 × 14 patches", or "224 × 224 values over 14 × 14 patches"."""
        patches = f"{self.grid.rows} × {self.grid.columns} patches"
        rows, columns = self.values.shape
        return f"{rows} × {columns} values over {patches}" if self.is_finer else f"{rows} × {columns} patches"

    @property
    def is_finer(self) -> bool:
        """Whether there are more values than patches."""
        return self.values.shape != (self.grid.rows, self.grid.columns)

    def on_patches(self) -> Float:
        """(rows, columns) of the grid: the values, those of a finer map summed to patches."""
        return self.grid.on_patches(self.values)

    def upsampled(self, size: tuple[int, int] | None = None) -> Float:
        """The map at the size of the user's picture, NaN where the network did not look: see `to_picture`."""
        return self.grid.to_picture(self.values, size)

    def as_json(self) -> dict[str, Any]:
        """All but the values and their error, which are arrays."""
        about = {"name": self.name, "target": self.target, "predicted": self.predicted, "grid": asdict(self.grid)}
        sums = {} if self.completeness is None else {"completeness": self.completeness.as_json()}
        more: dict[str, Any] = {"shape": list(self.values.shape)} if self.is_finer else {}
        more |= {} if self.curve is None else {"curve": self.curve.as_json()}
        return about | more | sums | ({"seen": True} if self.seen else {})

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], values: Float, error: Float | None = None) -> Self:
        """From the JSON of `as_json` and its arrays; lists become tuples again."""
        target = stored["target"]
        target = tuple(target) if isinstance(target, list) else target
        grid = PatchGrid.from_json(stored["grid"])
        completeness = Completeness.from_json(stored.get("completeness"))
        more = {"completeness": completeness, "seen": stored.get("seen", False)}
        more |= {"curve": RemovalCurve.from_json(stored.get("curve"))}
        return cls(values, grid, stored["name"], target, error, stored.get("predicted"), **more)


@dataclass(frozen=True, repr=False)
class Explanation(Displayed, Viewable):
    """The maps of one method over pictures, with what is needed to make them again.

    `settings` are the method's (layer, head, query, target); `provenance` names network, weights and versions;
    `classes` are the names of the network's outputs, where they have any; `verdict` is what an audit found of this
    method on this network, "" where there is none. Saved as a result folder: `maps.npy` (picture × rows × columns,
    float32), `errors.npy` like it where there are any and, last, `manifest.json`.

    >>> grid = PatchGrid.whole(2, 3, picture=(20, 30))
    >>> heatmap = Heatmap(np.ones((2, 3), np.float32), grid, "cat.jpg")
    >>> explanation = Explanation((heatmap,), "attention", settings={"layer": 11})
    >>> explanation.maps.shape
    (1, 2, 3)
    >>> Explanation.load(explanation.save("maps")).settings
    {'layer': 11}
    """

    heatmaps: tuple[Heatmap, ...]
    method: str
    signed: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    verdict: str = ""

    def __str__(self) -> str:
        sizes = {each.size_in_words for each in self}
        gaps = gaps_in_words(relative_gaps(each.completeness for each in self))
        facts = [counted(len(self), "picture"), *sorted(sizes), *([f"sums off by {gaps}"] if gaps else [])]
        verdict = f"; audit: {self.verdict}" if self.verdict else ""
        return f"{type(self).__name__} by {self.method}: {', '.join(facts)}{verdict}"

    def __len__(self) -> int:
        return len(self.heatmaps)

    def __iter__(self) -> Iterator[Heatmap]:
        return iter(self.heatmaps)

    def __getitem__(self, index: int) -> Heatmap:
        return self.heatmaps[index]

    @property
    def maps(self) -> Float:
        """(pictures, rows, columns) float32. Raises `DataError` where pictures have maps of different shapes."""
        return _stacked([heatmap.values for heatmap in self.heatmaps])

    @property
    def errors(self) -> Float | None:
        """(pictures, rows, columns) float32: the standard error of each value, or None for a method without any."""
        errors = [heatmap.error for heatmap in self.heatmaps if heatmap.error is not None]
        return _stacked(errors) if errors and len(errors) == len(self) else None

    def upsampled(self, index: int = 0) -> Float:
        """(height, width): a map at its picture's own size, NaN where the network did not look."""
        return self[index].upsampled()

    def overlay(self, index: int = 0, *, colours: str | None = None, alpha: float | None = None) -> "Image.Image":
        """A map laid over its picture, in grey, at the picture's own size; `alpha` (0 to 1) is the map's share.

        Raises `DataError` where the picture is not known, as of an explanation that was loaded.
        """
        heatmap = self[index]
        if heatmap.image is None:
            raise DataError(
                f"the picture {heatmap.name!r} is not known to this explanation, which was loaded; explain it again, "
                "or lay `upsampled()` over it yourself"
            )
        image = heatmap.image(max(heatmap.grid.picture))
        overlay: Image.Image = draw("overlay", image, heatmap, self.signed, colours=colours, alpha=alpha)
        return overlay

    def save(self, folder: Path | str, overwrite: bool = False) -> Path:
        """Write the result folder; it appears whole or not at all. Raises `OutputError` if it exists."""
        with new_folder(folder, overwrite) as aside:
            self.write(aside)
        return Path(folder)

    def write(self, folder: Path) -> None:
        """Write arrays, then the manifest, into an existing folder (one that `new_folder` gave)."""
        np.save(folder / "maps.npy", self.maps)
        if self.errors is not None:
            np.save(folder / "errors.npy", self.errors)
        self.write_manifest(folder, (heatmap.as_json() for heatmap in self))

    def write_manifest(self, folder: Path, pictures: Iterator[Mapping[str, Any]]) -> None:
        """Finish a folder with what holds for all maps, and `pictures` as `Heatmap.as_json` gives them."""
        write_long_manifest(
            folder,
            "explanation",
            pictures,
            method=self.method,
            signed=self.signed,
            settings=dict(self.settings),
            provenance=dict(self.provenance),
            classes=list(self.classes),
            **({"verdict": self.verdict} if self.verdict else {}),
        )

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read a result folder. Raises `DataError` when it is not whole or not an explanation."""
        fields = {"pictures": list, "method": str, "signed": bool, "settings": dict, "provenance": dict}
        manifest = read_manifest(folder, "explanation", fields)
        with reading(folder, AGAIN):
            maps = np.load(Path(folder) / "maps.npy", allow_pickle=False)
            errors = Path(folder) / "errors.npy"
            error = np.load(errors, allow_pickle=False) if errors.is_file() else [None] * len(maps)
            heatmaps = tuple(map(Heatmap.from_json, manifest["pictures"], maps, error))
            if not len(heatmaps) == len(maps) == len(manifest["pictures"]):
                raise ValueError(f"it has {len(maps)} maps of {len(manifest['pictures'])} pictures")
            return cls(
                heatmaps,
                manifest["method"],
                manifest["signed"],
                manifest["settings"],
                manifest["provenance"],
                tuple(manifest.get("classes", ())),
                str(manifest.get("verdict", "")),
            )


def _stacked(values: list[Float]) -> Float:
    shapes = sorted({each.shape for each in values})
    if len(shapes) > 1:
        raise DataError(
            f"these maps have {len(shapes)} shapes, from {shapes[0]} to {shapes[-1]}, which make no one array; "
            "take them one by one, or save them as a table (.parquet)"
        )
    return np.stack(values).astype(np.float32, copy=False)
