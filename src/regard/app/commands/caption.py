"""`regard caption`: what a network says of each picture, or is given to say, and for every word where it looked.

Whatever the number of pictures, memory stays the same: panels, maps and all that is said of a caption go to the disk as
they come (`caption_files.py`), and the same command after an interruption goes on where it was.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from regard.app.caption_entry import entry_of
from regard.app.caption_files import Names, Tally, UnfinishedCaptions
from regard.app.caption_table import read_caption_table, write_caption_table
from regard.app.captioning import Captioning
from regard.app.console import progress
from regard.app.given import Item, given_items, parse_which, plain_items, tokens_of
from regard.app.looking import CAPTURED, Look
from regard.app.output import OutputPlan, panel_names
from regard.app.word_truth import Result as Measured
from regard.app.word_truth import Truths
from regard.app.word_truth import as_json as measured_json
from regard.app.word_truth import as_text as measured_text
from regard.data.images.decode import thumbnail
from regard.data.layouts import read_pictures
from regard.errors import DataError, UsageError, unknown
from regard.explanation.words.alignment import source_panels
from regard.files import check_free, exchange, put_file, write_file, write_json, writing
from regard.measurement.localisation.words import TrueWord
from regard.networks.captioners.base import CaptionNetwork
from regard.networks.captioners.load import load_caption_network
from regard.records import Caption, write_manifest
from regard.records.captions import KIND, read_captions
from regard.rendering.figures.canvas import png
from regard.rendering.figures.caption_panels import (
    NARROW,
    SOURCE,
    Cell,
    Style,
    caption_panel,
    caption_sheet,
    cells_of,
    tile_for,
)
from regard.rendering.lettering import font, visible

log = logging.getLogger("regard")

STYLES = ("regard", "source")
GAINS = "after a word: its probability and, where there is room, the nats that it gains over another picture"
TRUTH = "truth.json"
SHEET, CELL = 48, 320  # pictures on the contact sheet, their longer sides


@dataclass(frozen=True)
class Result:
    """What was said of `n` pictures, in the folder or table `out`; `cut` of the captions reached the length limit.

    `first` are some of them, as (name, text). `captions` reads all, with their maps, from the disk, one by one.
    `truth`, where it was asked for, says whether maps lie on what their words speak of.
    """

    out: Path
    n: int
    cut: int
    network: str
    settings: Mapping[str, Any]
    first: tuple[tuple[str, str], ...]
    truth: Measured | None = None

    @property
    def captions(self) -> Iterator[Caption]:
        return read_captions(self.out) if self.out.is_dir() else read_caption_table(self.out)


def caption(
    pictures: str | Path | Sequence[str | Path],
    out: str | Path,
    model: str | Path | CaptionNetwork = "scenes-captioner",
    captions: str | Path | None = None,
    which: str | int = "0",
    prompt: str | None = None,
    beams: int = 1,
    limit: int | None = None,
    method: str = CAPTURED,
    row: str = "predicting",
    layer: int | None = None,
    head: int | None = None,
    start: int | None = None,
    depends: bool = False,
    truth: str | Path | None = None,
    style: str = "regard",
    format: str | None = None,
    colours: str | None = None,
    device: str | None = None,
    batch_size: int = 8,
    skip_bad: bool = False,
    overwrite: bool = False,
) -> Result:
    """What a network says of each picture, word by word, and where it looked for each.

    Into the folder `out` go a panel for each picture under its own name (the caption, the picture, each word over it),
    `captions.json` with all that is known of every word, the maps as arrays under `maps/`, `contact_sheet.png` of the
    first 48 pictures, and last `manifest.json`. A file `out` that ends in `.parquet` (or any, with `format` "parquet")
    gets a row for each word instead. A run that was interrupted is gone on with.

    `model` is the shipped `scenes-captioner`, a run of `regard train --task caption`, a CATR (`catr-v1`, `catr-v2`,
    `catr-v3`, or a checkpoint file), `hf:ID`, a Hugging Face folder, or what `load_caption_network` gave. With
    `captions`, a COCO-style .json, a .csv with filename,caption or a folder with one of these, captions are not made
    but given word by word: of several for a picture the one at `which`, from 0, or "all". `prompt` is what the
    caption begins with or answers, `limit` the most tokens of a caption that is made.

    Maps are by a `method` of METHODS that is of words, by default attention to the picture: of one `layer`, by default
    the last, and one `head`, by default the mean; `row` says which step's, the one that predicts a word or the one
    that reads it; `start` is the first layer that counts for a method that goes through them. With `depends` each
    caption is also said of the next picture and of none: what a word and its map lose there goes into `captions.json`.
    `style` "source" draws the panels of CATR's own figures.

    `truth` is data that know the region of each word: a folder of drawn scenes, or a COCO .json with masks or boxes, of
    the same pictures. Panels then outline what a word speaks of and strike out what is wrong, and `truth.json` has
    pointing, IoU and the share inside, beside three baselines: see `measurement.words`.
    """
    out = Path(out)
    look, plan = Look.of(method, row, layer, head, start), OutputPlan.of(out, format, None, None, colours)
    drawing, drawn = _style(style, row, colours), plan.format == "panels"
    _check_together(style, drawn, captions, which, beams, limit)
    check_free(out, overwrite)
    truths = None if truth is None else Truths.of(truth)
    items = _items(pictures, captions, which, skip_bad)
    if depends and len({item.picture.identity for item in items}) < 2:
        raise UsageError("--depends compares each picture with the next one, and there is one alone; give more")
    if truths is not None:
        truths.check(item.name for item in items)
    captioner = _opened(model, device)
    look.check(captioner)
    limit = captioner.check(None, beams, limit)
    for item in items:
        if item.caption is not None:
            tokens_of(captioner, item)  # one that cannot be said is named before any work
    given = None if captions is None else Path(captions).name
    how: dict[str, Any] = {"batch_size": batch_size, "skip_bad": skip_bad, "drawn": drawn, "depends": depends}
    work = Captioning(captioner, items, look, prompt, beams, limit, given, str(which), **how)
    return _on_disk(work, out, drawing, truths)


def _style(style: str, row: str, colours: str | None) -> Style:
    """How panels are drawn; raises `UsageError` for what does not go together, before any work."""
    if style not in STYLES:
        raise unknown("style", style, STYLES)
    if style == "regard":
        return Style(colours)
    if row != "predicting" or colours not in (None, SOURCE.colours):
        wrong = "colours" if row == "predicting" else "row"
        raise UsageError(f"--style source has its own colours (jet) and row (predicting); leave --{wrong} out")
    return SOURCE


def _check_together(
    style: str, drawn: bool, captions: str | Path | None, which: str | int, beams: int, limit: int | None
) -> None:
    """Raise `UsageError` for options that mean nothing beside each other."""
    if style != "regard" and not drawn:
        raise UsageError(f"--style {style} is of panels, and a table has none; give --out FOLDER for them")
    if captions is None and str(which) != "0":
        raise UsageError(f"--which {which} is of captions that are given; give --captions FILE with it")
    made = {"beams": beams != 1, "limit": limit is not None}
    strange = [name for name, asked in made.items() if asked]
    if captions is not None and strange:
        raise UsageError(f"--{strange[0]} is of captions that are made, and --captions gives them; leave one out")


def _items(
    pictures: str | Path | Sequence[str | Path], captions: str | Path | None, which: str | int, skip_bad: bool
) -> tuple[Item, ...]:
    number = parse_which(which)
    dataset = read_pictures(pictures if isinstance(pictures, str | Path) else list(pictures))
    return plain_items(dataset) if captions is None else given_items(dataset, Path(captions), number, skip_bad)


def _opened(model: str | Path | CaptionNetwork, device: str | None) -> CaptionNetwork:
    if isinstance(model, CaptionNetwork):
        if device is not None:
            raise UsageError("a captioner that is given stays on its own device; move its module, and leave device out")
        return model
    captioner = load_caption_network(model, device)
    for message in captioner.messages:
        log.info(message)
    return captioner


def _on_disk(work: Captioning, out: Path, style: Style, truths: Truths | None) -> Result:
    looks = {**vars(style), "truth": None if truths is None else truths.hash}
    with writing(out), UnfinishedCaptions.open(out, work.fingerprint(looks, work.drawn), len(work.items)) as unfinished:
        _make(work, unfinished, style, truths)
        if not unfinished.n:
            raise DataError("none of the pictures could be read")
        tally = Tally(unfinished.entries())
        if work.drawn:
            measured = _finish_folder(work, unfinished, tally, style, truths)
            exchange(unfinished.result, out)
        else:
            measured = _finish_table(work, unfinished, tally, out, truths)
        unfinished.remove()
    _tell(tally, work)
    return Result(out, tally.n, tally.cut.n, work.captioner.name, work.settings, tuple(tally.first), measured)


def _make(work: Captioning, unfinished: UnfinishedCaptions, style: Style, truths: Truths | None) -> None:
    """Make the captions that are still missing, and a panel of each where there are to be any."""
    panels = panel_names([item.file for item in work.items])
    said = " · ".join([_said(work), *([GAINS] if work.depends else [])])
    with progress("captioning", len(work.items)) as advance:
        done = unfinished.pictures
        advance(done)
        for place, (index, described) in enumerate(work.described(done), 1):
            if described.image is None:
                unfinished.append(entry_of(described, work.captioner, {}), described.maps)
            else:
                panel = panels[described.item.file]
                entry = entry_of(described, work.captioner, _files(panel))
                known = {} if truths is None else truths.of_words(described.caption)
                _draw(unfinished, described.image, described.caption, entry, style, said, known)
                unfinished.write_maps(entry["maps"], described.maps)
                unfinished.append(entry)
            if place % work.batch_size == 0:
                unfinished.commit(index + 1)
            advance(index + 1 - done)  # those that were skipped, too
            done = index + 1
        unfinished.commit(len(work.items))


def _said(work: Captioning) -> str:
    """What stands below panels and sheet."""
    facts = {"network": work.captioner.name, **work.settings, "depends": None}
    return " · ".join(f"{name} {value}" for name, value in facts.items() if value is not None)


def _files(panel: str) -> dict[str, str]:
    """A picture's files in the result."""
    return {"panel": panel, "maps": f"maps/{panel.removesuffix('.png')}.npy"}


def _draw(
    unfinished: UnfinishedCaptions,
    image: Image.Image,
    caption: Caption,
    entry: Mapping[str, Any],
    style: Style,
    said: str,
    known: Mapping[int, TrueWord],
) -> None:
    """Write a picture's panel."""
    if style is SOURCE:
        cells = [Cell(title, heatmap=heatmap) for title, heatmap in source_panels(caption.words)]
    else:
        cells = _with_gains(cells_of(caption), entry["words"], image.size)
        cells = [cells[0], *(_with_truth(cell, known.get(place)) for place, cell in enumerate(cells[1:]))]
    drawn = caption_panel(image, caption.name, caption.text, cells, style, said)
    write_file(unfinished.result / entry["panel"], png(drawn))


def _with_truth(cell: Cell, word: TrueWord | None) -> Cell:
    """What a word speaks of, and whether it is wrong, where that is known."""
    return cell if word is None else replace(cell, region=word.region, wrong=word.right is False)


def _with_gains(cells: list[Cell], words: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> list[Cell]:
    """Beside each word also what it gains over another picture, where that was asked and leaves the word its room."""
    tile = tile_for(len(cells), size)
    room = max(NARROW, round(tile * min(1, size[0] / size[1])))
    gains = [(word.get("depends") or {}).get("over_other") for word in words]
    found = [
        cell if gain is None else _with_gain(cell, gain, room) for cell, gain in zip(cells[1:], gains, strict=True)
    ]
    return [cells[0], *found]


def _with_gain(cell: Cell, gain: float, room: float) -> Cell:
    note = f"{cell.note} {round(gain, 1) + 0.0:+.1f}"  # no -0.0
    fits = font(15, True).getlength(cell.title) + 8 + font(12).getlength(note) <= room
    return replace(cell, note=note) if fits else cell


def _finish_folder(
    work: Captioning, unfinished: UnfinishedCaptions, tally: Tally, style: Style, truths: Truths | None
) -> Measured | None:
    """The contact sheet of the first pictures, all entries, the manifest; and what the finished folder is worth."""
    openers = {item.name: item.picture.opener for item in work.items}
    first = [(entry["name"], entry["text"]) for entry in islice(unfinished.entries(), SHEET)]
    items = [(thumbnail(openers[name], CELL), name, text) for name, text in first]
    more = f" · and {tally.n - SHEET} pictures more" if tally.n > SHEET else ""
    write_file(unfinished.result / "contact_sheet.png", png(caption_sheet(items, caption=_said(work) + more)))
    unfinished.write_entries()
    name = "source" if style is SOURCE else "regard"
    write_manifest(unfinished.result, KIND, **_about(work, tally), style=name)
    measured = _measured(truths, read_captions(unfinished.result))
    if measured is not None:
        write_json(unfinished.result / TRUTH, measured_json(measured))
    return measured


def _measured(truths: Truths | None, captions: Iterator[Caption]) -> Measured | None:
    """Whether maps lie on what words speak of; None where that was not asked, or no word claims anything."""
    try:
        return None if truths is None else truths.measured(captions)
    except DataError as error:
        log.warning(str(error))
        return None


def _finish_table(
    work: Captioning, unfinished: UnfinishedCaptions, tally: Tally, out: Path, truths: Truths | None
) -> Measured | None:
    file = unfinished.folder / "captions.parquet"
    write_caption_table(file, unfinished.captions(), _about(work, tally))
    with file.open("rb+") as written:
        os.fsync(written.fileno())
    measured = _measured(truths, read_caption_table(file))
    put_file(file, out)
    return measured


def _about(work: Captioning, tally: Tally) -> dict[str, Any]:
    """What holds for all captions."""
    counts = {"n": tally.n, "limit_reached": tally.cut.n}
    return {**counts, "settings": work.settings, "provenance": work.provenance}


def _tell(tally: Tally, work: Captioning) -> None:
    """What the user should know of all captions together."""
    if tally.cut.n:
        most = work.captioner.limit
        advice = f"give a higher --limit, up to {most}" if work.limit < most else "the network takes no more"
        log.warning(
            f"{_several(tally.cut, 'caption')} reached the length limit of {work.limit} tokens and {_have(tally.cut)} "
            f"no <end>; {advice}"
        )
    if tally.silent.n:
        log.warning(f"{_several(tally.silent, 'caption')} {_have(tally.silent)} no words: the network ended at once")
    if tally.unknown.n:
        verb = "is" if tally.unknown.n == 1 else "are"
        log.warning(
            f"{_several(tally.unknown, 'word')} {verb} unknown to {work.captioner.name}, which reads [UNK] there"
        )


def _several(names: Names, what: str) -> str:
    listed = ", ".join(map(visible, names.first)) + (", ..." if names.n > len(names.first) else "")
    return f"{names.n} {what}{'s' if names.n != 1 else ''} ({listed})"


def _have(names: Names) -> str:
    return "has" if names.n == 1 else "have"


def as_json(result: Result) -> dict[str, Any]:
    return {
        "out": str(result.out),
        "n": result.n,
        "limit_reached": result.cut,
        "network": result.network,
        "settings": dict(result.settings),
        **({} if result.truth is None else {"truth": measured_json(result.truth)}),
    }


def as_text(result: Result) -> str:
    told = [f"{visible(name)}: {visible(text)}" for name, text in result.first]
    pictures = f"{result.n} picture{'s' if result.n != 1 else ''}"
    measured = [] if result.truth is None else [measured_text(result.truth)]
    return "\n".join([*told, *measured, f"{pictures} captioned by {result.network}, written to {result.out}"])
