"""What a command writes: panels in a folder or a table, and the names of the files in the folder."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from regard.errors import UsageError, unknown
from regard.predictors.sheets import Sheet, parse_sheet
from regard.rendering import colour
from regard.rendering.figures.vector import FIGURES

FORMATS = ("panels", "parquet")


@dataclass(frozen=True)
class OutputPlan:
    """What is to come out: see `regard explain`."""

    format: str
    figure: str
    sheet: Sheet | None
    colours: str | None

    @classmethod
    def of(
        cls, out: Path | None, format: str | None, figure: str | None, sheet: str | None, colours: str | None
    ) -> Self:
        """Check the options against each other. Raises `UsageError` for what does not go together."""
        table = out is not None and out.suffix.lower() in (".parquet", ".pq")
        if format is not None and format not in FORMATS:
            raise unknown("format", format, FORMATS)
        if format == "panels" and table:
            raise UsageError(
                f"--out {out} is the name of a Parquet file, but --format is panels; leave one of them out"
            )
        format = format or ("parquet" if table else "panels")
        if figure is not None and figure not in FIGURES:
            raise unknown("kind of figure", figure, FIGURES)
        appearance = {"figure": figure, "sheet": sheet, "colours": colours}
        strange = [name for name, value in appearance.items() if value is not None]
        if strange and (format == "parquet" or out is None):
            raise UsageError(f"--{strange[0]} is of pictures that are drawn, into a folder; give --out FOLDER for them")
        if colours is not None:
            colour.table(colours)  # an unknown one is named before any work
        usual = "jpg" if format == "panels" else "png"  # of a table it counts nothing; earlier versions wrote png
        return cls(format, figure or usual, parse_sheet(sheet), colours)


def panel_names(names: Sequence[str], figure: str = "png") -> dict[str, str]:
    """Each picture's panel, under its own name and folders; the whole name is kept where two would meet."""
    plain = {name: str(PurePosixPath(name).with_suffix(f".{figure}")) for name in names}
    reserved = {"contact_sheet.png", *(f"sheet_{kind}.png" for kind in Sheet.KINDS)}
    reserved |= {target for target, count in Counter(plain.values()).items() if count > 1}
    files = {name: f"{name}.{figure}" if target in reserved else target for name, target in plain.items()}
    unique = len(set(files.values())) == len(files)
    return files if unique else {name: f"{name}.{figure}" for name in names}
