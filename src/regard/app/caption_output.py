"""How captions are written: as a folder of panels, maps and `captions.json`, or as one Parquet file."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from regard.app.caption_panels import draw_panel, settings_line
from regard.app.console import progress
from regard.app.output import panel_names
from regard.data.images.decode import thumbnail
from regard.data.regions import Regions
from regard.errors import DataError
from regard.files import exchange, put_file, write_file, write_json, writing
from regard.measurement.localisation.captions import CaptionScores, measure_captions, words_of
from regard.predictors.captions.job import CaptionJob
from regard.predictors.captions.options import CaptionInput
from regard.records import Caption, write_manifest
from regard.records.inspection import MOST_ON_A_PAGE
from regard.rendering.figures.canvas import png
from regard.rendering.figures.caption_panels import SOURCE, SheetItem, Style, caption_sheet
from regard.rendering.lettering import visible
from regard.results.caption_table import read_caption_table, write_caption_table
from regard.results.captions import KIND, CaptionWriter, Tally, read_captions, supports_of

log = logging.getLogger("regard")

TRUTH = "truth.json"
SHEET = 48  # pictures on the contact sheet, at most
CELL = 320  # their longer sides in pixels


@dataclass(frozen=True)
class CaptionOutput:
    """Where captions are written, as `panels` in a folder `out` or as a table, and how they look.

    `truth` knows what words speak of. The same work, done again after an interruption, goes on where it was.
    """

    out: Path
    panels: bool
    style: Style
    truth: Regions | None = None
    overwrite: bool = False
    captions: dict[int, Caption] = field(default_factory=dict)  # of the first inputs, for a page

    def write(self, job: CaptionJob, inputs: Sequence[CaptionInput]) -> tuple[Tally, CaptionScores | None]:
        """Write the captions of all inputs; what there is to count, and whether maps lie on what words speak of."""
        fingerprint = self._fingerprint(job, inputs)
        with writing(self.out), CaptionWriter.open(self.out, fingerprint, len(inputs), self.overwrite) as writer:
            self._write_captions(job, inputs, writer)
            if not writer.n:
                raise DataError("none of the pictures could be read")
            tally = Tally(writer.entries())
            counts = {"n": tally.n, "limit_reached": tally.cut.n}
            about = {**counts, "settings": job.settings, "provenance": job.provenance}
            if self.panels:
                self._write_sheet(job, inputs, writer)
                measured = self._finish_folder(writer, about)
            else:
                measured = self._finish_table(writer, inputs, about)
            writer.remove()
        return tally, measured

    def _fingerprint(self, job: CaptionJob, inputs: Sequence[CaptionInput]) -> str:
        """A hash of all that decides the bytes of the result."""
        appearance = {**vars(self.style), "truth": None if self.truth is None else self.truth.digest}
        items = [(item.name, item.caption, item.which) for item in inputs]
        device = str(job.network.device)
        facts = [job.settings, job.provenance, device, job.batch_size, items, [appearance, self.panels]]
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()

    def _write_captions(self, job: CaptionJob, inputs: Sequence[CaptionInput], writer: CaptionWriter) -> None:
        """Write the captions that are still missing, and a panel of each where there are to be any."""
        panels = panel_names([item.file for item in inputs])
        line = settings_line(job.network.name, job.settings)
        with progress("captioning", len(inputs)) as advance:
            done = writer.pictures
            advance(done)
            for count, (index, caption, preview) in enumerate(job.captions(inputs, done), 1):
                panel = None
                if preview is not None:
                    panel = panels[inputs[index].file]
                    truth = {} if self.truth is None else words_of(caption, self.truth)
                    write_file(writer.result / panel, png(draw_panel(preview, caption, self.style, line, truth)))
                writer.add_caption(caption, panel)
                if index < MOST_ON_A_PAGE:
                    self.captions[index] = caption
                if count % job.batch_size == 0:
                    writer.commit(index + 1)
                advance(index + 1 - done)  # those that were skipped, too
                done = index + 1
            writer.commit(len(inputs))

    def _write_sheet(self, job: CaptionJob, inputs: Sequence[CaptionInput], writer: CaptionWriter) -> None:
        """The contact sheet of the first pictures."""
        openers = {item.name: item.picture.opener for item in inputs}
        first = islice(writer.entries(), SHEET)
        items = [
            SheetItem(thumbnail(openers[entry["name"]], CELL), entry["name"], entry["text"], supports_of(entry))
            for entry in first
        ]
        more = f" · and {writer.n - SHEET} pictures more" if writer.n > SHEET else ""
        line = settings_line(job.network.name, job.settings) + more
        write_file(writer.result / "contact_sheet.png", png(caption_sheet(items, caption=line)))

    def _finish_folder(self, writer: CaptionWriter, about: Mapping[str, Any]) -> CaptionScores | None:
        writer.write_entries()
        write_manifest(writer.result, KIND, **about, style="source" if self.style is SOURCE else "regard")
        measured = self._measured(read_captions(writer.result))
        if measured is not None:
            write_json(writer.result / TRUTH, measured.as_json())
        exchange(writer.result, self.out)
        return measured

    def _finish_table(
        self, writer: CaptionWriter, inputs: Sequence[CaptionInput], about: Mapping[str, Any]
    ) -> CaptionScores | None:
        file = writer.folder / "captions.parquet"
        filenames = {item.name: item.picture.filename or item.name for item in inputs}
        write_caption_table(file, writer.entries_with_maps(), about, filenames)
        with file.open("rb+") as table:
            os.fsync(table.fileno())
        measured = self._measured(read_caption_table(file))
        put_file(file, self.out)
        return measured

    def _measured(self, captions: Iterator[Caption]) -> CaptionScores | None:
        """Whether maps lie on what words speak of; None where that was not asked, or no word claims anything."""
        try:
            return None if self.truth is None else measure_captions(captions, self.truth)
        except DataError as error:
            log.warning(str(error))
            return None


def warn(tally: Tally, job: CaptionJob) -> None:
    """Log what a user should know of all captions together."""
    for line in tally.warnings(job.network.name, job.options.limit, job.network.limit):
        log.warning(visible(line))
