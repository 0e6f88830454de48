"""`regard caption`: what a network says of each picture, and for every word where it looked.

Whatever the number of pictures, memory stays the same: panels, maps and the lines of `captions.json` are written as
they come, into a folder that appears when it is whole.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from regard.app.captioning import Captioning, Described, entry_of
from regard.app.console import log, progress
from regard.app.explain import panel_names
from regard.data.folder import read_pictures
from regard.errors import DataError, UsageError, unknown
from regard.explanation.words import ROWS, source_panels
from regard.files import check_free, new_folder, write_file
from regard.networks.captioner import Captioner, Kept, load_captioner
from regard.records import Caption, write_manifest
from regard.records.captions import FILE, KIND, read_captions
from regard.rendering import colour
from regard.rendering.caption import SOURCE, Cell, Style, caption_panel, caption_sheet, cells_of
from regard.rendering.figure import png
from regard.rendering.lettering import visible

STYLES = ("regard", "source")
SHEET, CELL, TOLD = 48, 320, 8  # pictures on the contact sheet, their longer sides; captions told on the screen


@dataclass(frozen=True)
class Result:
    """What was said of `n` pictures, in the folder `out`; `cut` of the captions reached the length limit.

    `first` are some of them, as (name, text). `captions` reads all, with their maps, from the disk, one by one.
    """

    out: Path
    n: int
    cut: int
    network: str
    settings: Mapping[str, Any]
    first: tuple[tuple[str, str], ...]

    @property
    def captions(self) -> Iterator[Caption]:
        return read_captions(self.out)


@dataclass
class Tally:
    """What is remembered of the captions while they pass by."""

    n: int = 0
    first: list[tuple[Image.Image, str, str]] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    def add(self, described: Described) -> None:
        name, text = described.caption.name, described.caption.text
        self.n += 1
        if len(self.first) < SHEET:
            small = described.image.copy()
            small.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
            self.first.append((small, name, text))
        if not described.decoding.finished:
            self.cut.append(name)
        if not text:
            self.silent.append(name)


def caption(
    pictures: str | Path | Sequence[str | Path],
    out: str | Path,
    model: str | Path | Captioner,
    prompt: str | None = None,
    beams: int = 1,
    limit: int | None = None,
    row: str = "predicting",
    layer: int | None = None,
    head: int | None = None,
    style: str = "regard",
    colours: str | None = None,
    device: str | None = None,
    batch_size: int = 8,
    skip_bad: bool = False,
    overwrite: bool = False,
) -> Result:
    """What a network says of each picture, word by word, and where it looked for each.

    Into the folder `out` go a panel for each picture under its own name (the caption, the picture, each word over it),
    `captions.json` with all that is known of every word, the maps as arrays under `maps/`, `contact_sheet.png` of the
    first 48 pictures, and last `manifest.json`.

    `model` is a CATR (`catr-v1`, `catr-v2`, `catr-v3`, or a checkpoint file), `hf:ID`, a Hugging Face folder, or what
    `load_captioner` gave. Maps are attention to the picture: of one `layer`, by default the last, and one `head`, by
    default the mean; `row` says which step's, the one that predicts a word or the one that reads it. `prompt` is what
    the caption begins with or answers, `limit` the most tokens of a caption. `style` "source" draws the panels of
    CATR's own figures.
    """
    look, out = _look(style, row, colours), Path(out)
    check_free(out, overwrite)
    dataset = read_pictures(pictures if isinstance(pictures, str | Path) else list(pictures))
    captioner = _opened(model, device)
    kept = Kept(captioner.layers - 1 if layer is None else layer, "mean" if head is None else head)
    limit = captioner.check(kept, beams, limit)
    work = Captioning(captioner, dataset, kept, prompt, beams, limit, row, batch_size, skip_bad)
    with new_folder(out, overwrite) as folder:
        tally = _filled(folder, work, look)
    _tell(tally, work)
    first = tuple((name, text) for _, name, text in tally.first[:TOLD])
    return Result(out, tally.n, len(tally.cut), captioner.name, work.settings, first)


def _look(style: str, row: str, colours: str | None) -> Style:
    """How panels are drawn; raises `UsageError` for what does not go together, before any work."""
    if style not in STYLES:
        raise unknown("style", style, STYLES)
    if row not in ROWS:
        raise unknown("row", row, ROWS)
    if colours is not None:
        colour.table(colours)  # an unknown one is named
    if style == "regard":
        return Style(colours)
    if row != "predicting" or colours not in (None, SOURCE.colours):
        wrong = "colours" if row == "predicting" else "row"
        raise UsageError(f"--style source has its own colours (jet) and row (predicting); leave --{wrong} out")
    return SOURCE


def _opened(model: str | Path | Captioner, device: str | None) -> Captioner:
    if isinstance(model, Captioner):
        if device is not None:
            raise UsageError("a captioner that is given stays on its own device; move its module, and leave device out")
        return model
    captioner = load_captioner(model, device)
    for message in captioner.messages:
        log.info(message)
    return captioner


def _filled(folder: Path, work: Captioning, look: Style) -> Tally:
    """All files of the result, written as the captions come; the manifest last."""
    tally, panels = Tally(), panel_names(work.pictures.names)
    about = work.provenance
    facts = {"network": about["network"], **work.settings}
    said = " · ".join(f"{name} {value}" for name, value in facts.items() if value is not None)

    def lines() -> Iterator[str]:
        with progress("captioning", len(work.pictures)) as advance:
            for described in work.described():
                files = _written(folder, described, panels[described.caption.name], look, said)
                entry = json.dumps(entry_of(described, work.captioner, files), ensure_ascii=False, allow_nan=False)
                yield f"{',' if tally.n else '['}\n{entry}"
                tally.add(described)
                advance(1)
        if not tally.n:
            raise DataError("none of the pictures could be read")
        yield "\n]\n"

    write_file(folder / FILE, lines())
    more = f" · and {tally.n - SHEET} pictures more" if tally.n > SHEET else ""
    write_file(folder / "contact_sheet.png", png(caption_sheet(tally.first, caption=said + more)))
    counts = {"n": tally.n, "limit_reached": len(tally.cut)}
    write_manifest(
        folder, KIND, **counts, style="source" if look is SOURCE else "regard", settings=work.settings, provenance=about
    )
    return tally


def _written(folder: Path, described: Described, panel: str, look: Style, said: str) -> dict[str, str]:
    """A picture's panel and maps on the disk, and where they are."""
    caption, maps = described.caption, f"maps/{panel.removesuffix('.png')}.npy"
    drawn = caption_panel(described.image, caption.name, caption.text, _cells(caption, look), look, said)
    write_file(folder / panel, png(drawn))
    array = io.BytesIO()
    np.save(array, described.maps, allow_pickle=False)
    write_file(folder / maps, array.getvalue())
    return {"panel": panel, "maps": maps}


def _cells(caption: Caption, look: Style) -> list[Cell]:
    if look is SOURCE:
        return [Cell(title, heatmap=heatmap) for title, heatmap in source_panels(caption.words)]
    return cells_of(caption)


def _tell(tally: Tally, work: Captioning) -> None:
    """What the user should know of all captions together."""
    if tally.cut:
        most = work.captioner.limit
        advice = f"give a higher --limit, up to {most}" if work.limit < most else "the network takes no more"
        log.warning(
            f"{_several(tally.cut)} reached the length limit of {work.limit} tokens and {_have(tally.cut)} no <end>; "
            f"{advice}"
        )
    if tally.silent:
        log.warning(f"{_several(tally.silent)} {_have(tally.silent)} no words: the network ended at once")


def _several(names: Sequence[str]) -> str:
    listed = ", ".join(map(visible, names[:3])) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} caption{'s' if len(names) != 1 else ''} ({listed})"


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def as_json(result: Result) -> dict[str, Any]:
    return {
        "out": str(result.out),
        "n": result.n,
        "limit_reached": result.cut,
        "network": result.network,
        "settings": dict(result.settings),
    }


def as_text(result: Result) -> str:
    told = [f"{visible(name)}: {visible(text)}" for name, text in result.first]
    pictures = f"{result.n} picture{'s' if result.n != 1 else ''}"
    return "\n".join([*told, f"{pictures} captioned by {result.network}, written to {result.out}"])
