"""`regard caption`: what a network writes of each picture, or how it aligns a given caption, with a map for every word.

Whatever the number of pictures, memory stays the same: panels, maps and entries go to the disk as they come, and the
same command after an interruption goes on where it was.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.app import options as opt
from regard.app.console import progress
from regard.app.listing import Printed
from regard.data import MAX_PIXELS
from regard.errors import UsageError
from regard.jobs.bulk.arguments import is_bulk, run_bulk

if TYPE_CHECKING:
    from regard.jobs.bulk.run import BulkRun
    from regard.measurement.localisation.captions import CaptionScores
    from regard.records import Caption


@dataclass(frozen=True, repr=False)
class Result(Printed):
    """The captions of `n` pictures, in the folder or table `out` and on the `page`; `cut` of them are cut off.

    `first` are some of them, as (name, text). `captions` reads all, with their maps, from the disk, one by one.
    `truth`, where it was asked for, says whether maps lie on what their words speak of.
    """

    out: Path | None
    n: int
    cut: int
    network: str
    settings: Mapping[str, Any]
    first: tuple[tuple[str, str], ...]
    truth: "CaptionScores | None" = None
    page: Path | None = None
    checks: str = ""

    @property
    def captions(self) -> "Iterator[Caption]":
        from regard.results.caption_table import read_caption_table
        from regard.results.captions import read_captions

        if self.out is None:
            return iter(())
        return read_captions(self.out) if self.out.is_dir() else read_caption_table(self.out)


def caption(
    pictures: opt.Pictures,
    out: opt.OutOrMemory = None,
    model: opt.CaptionModel = "scenes-captioner",
    captions: opt.CaptionsFile = None,
    which: opt.Which = "0",
    prompt: opt.Prompt = None,
    beams: opt.Beams = 1,
    limit: opt.Limit = None,
    method: opt.WordMethod = "cross_attention",
    row: opt.Row = "predicting",
    layer: opt.DecoderLayer = None,
    head: opt.DecoderHead = None,
    start: opt.DecoderStart = None,
    depends: opt.Depends = False,
    check: opt.Check = None,
    support: opt.Support = None,
    truth: opt.Truth = None,
    style: opt.Style = "regard",
    format: opt.Format = None,
    coco: opt.Coco = None,
    colours: opt.MapColours = None,
    page: opt.Page = None,
    no_pictures: opt.NoPictures = False,
    anonymise: opt.Anonymise = False,
    device: opt.Device = None,
    precision: opt.Precision = "float32",
    batch_size: opt.BatchSize = 8,
    image: opt.ImageColumn = None,
    max_pixels: opt.MaxPixels = MAX_PIXELS,
    skip_bad: opt.SkipBad = False,
    overwrite: opt.Overwrite = False,
    jobs: opt.Jobs = None,
    columns: opt.Columns = None,
    dry_run: opt.DryRun = False,
    unit: opt.Unit = None,
    threads: opt.Threads = None,
) -> "Result | BulkRun":
    """Describe each picture, and show for every word where the network looked.

    The same command goes on after an interruption.

    Into the folder `out` go a panel for each picture under its own name (the caption, the picture, each word over it),
    `captions.json` with all that is known of every word, the maps as arrays under `maps/`, `contact_sheet.png` of the
    first 48 pictures, and last `manifest.json`. A file `out` that ends in `.parquet` (or any, with `format` "parquet")
    gets a row for each word instead.

    `model` is the shipped `scenes-captioner`, a run of `regard train --task caption`, a CATR (`catr-v1`, `catr-v2`,
    `catr-v3`, or a checkpoint file), `hf:ID`, a Hugging Face folder, or a `CaptionNetwork` that is loaded already. With
    `captions`, a COCO-style .json, a .csv with filename,caption or a folder with one of these, captions are not made
    but given word by word: of several for a picture the one at `which`, from 0, or "all". `prompt` is what the caption
    begins with or answers, `limit` the most tokens of a caption that is made.

    Maps are by a `method` of METHODS that is of words, by default attention to the picture: of one `layer`, by default
    the last, and one `head`, by default the mean; `row` says which step's, the one that predicts a word or the one
    that reads it; `start` is the first layer that counts for a method that goes through them. With `depends` each
    caption is also said of the next picture and of none: what a word and its map lose there goes into `captions.json`.
    With `check` "quick" each word has the checks of how far the picture supports it that cost three passes, with "full"
    also those that take patches out; where that was measured on this network (beside it, or the file `support`) also
    the probability that it does, and why it may not. `style` "source" draws the panels of CATR's own figures.

    The file `page` shows each caption word by word, the COCO file `coco` has each word's region, from what is in `out`:
    see docs/captions.md.

    `truth` is data that know the region of each word: a folder of drawn scenes, or a COCO .json with masks or boxes, of
    the same pictures. Panels then outline what a word speaks of and strike out what is wrong, and `truth.json` has
    pointing, IoU and the share inside, beside three baselines: see `measurement.words`.

    >>> import regard
    >>> _ = regard.scenes(2, "drawn")
    >>> result = regard.caption("drawn/images", "captions")
    >>> [caption.maps.shape[1:] for caption in result.captions]  # of (words, rows, columns)
    [(14, 14), (14, 14)]
    """
    if is_bulk(locals()):
        return run_bulk(caption, locals(), progress)
    from regard.app.caption_panels import preview, style_of
    from regard.app.output import OutputPlan
    from regard.data.dataset import skipper
    from regard.data.regions import regions_of
    from regard.exports.coco import check_coco, write_coco
    from regard.files import check_free
    from regard.measurement.localisation.captions import check_pictures
    from regard.networks.arguments import check_arguments
    from regard.predictors.captions.inputs import check_together, read_inputs
    from regard.predictors.captions.options import CaptionOptions
    from regard.predictors.command_inputs import refuse_network
    from regard.predictors.page_plan import PagePlan

    refuse_network(pictures, "pictures", "caption")
    check_arguments(model, precision=precision)
    page_plan = PagePlan.of(page, overwrite, None, None, no_pictures, anonymise)
    if out is None and page_plan is None:
        raise UsageError("nothing would be written; give `out` for results, or `page` for a page")
    out = None if out is None else Path(out)
    options = CaptionOptions(prompt, beams, limit, method, row, layer, head, start, depends, check, support)
    panels = OutputPlan.of(out, format, None, None, colours).format == "panels"
    drawing = style_of(style, row, colours)
    check_together(options, style, panels, captions, which)
    if out is not None:
        check_free(out, overwrite)
    coco = check_coco(coco, out, overwrite)
    regions = None if truth is None else regions_of(truth, words=True)
    inputs, source = read_inputs(pictures, captions, which, skip_bad, max_pixels, image)
    if regions is not None:
        check_pictures(regions, (item.name for item in inputs))
    from regard.app.caption_output import CaptionOutput, warn  # torch is imported when nothing else is wrong
    from regard.app.inspecting import write_page
    from regard.predictors.captioner import Captioner
    from regard.predictors.captions.job import check_captions, check_comparable
    from regard.predictors.inspector.captions import caption_content
    from regard.results.check_text import checks_text

    if depends:
        check_comparable(inputs)
    captioner = Captioner(model, device=device, precision=precision)
    job = captioner.job(
        options, source, batch_size=batch_size, on_bad=skipper(skip_bad), preview=preview if panels else None
    )
    check_captions(job.network, inputs)
    output = None if out is None else CaptionOutput(out, panels, drawing, regions, overwrite)
    result = Result(out, 0, 0, job.network.name, job.settings, (), None, None if page_plan is None else page_plan.file)
    if output is not None:
        tally, measured = output.write(job, inputs)
        warn(tally, job)
        if out is not None and coco is not None:
            write_coco(coco, out)
        result = replace(result, n=tally.n, cut=tally.cut.n, first=tuple(tally.examples), truth=measured)
        result = replace(result, checks=checks_text(tally, job.network.name, job.settings))
    if page_plan is not None:
        content = caption_content(job, inputs, {} if output is None else output.captions, regions)
        result = replace(result, n=result.n or sum(map(len, content.pictures.values())))
        write_page(page_plan, content)
    return result


def as_json(result: Result) -> dict[str, Any]:
    return {
        "out": str(result.out),
        **({} if result.page is None else {"page": str(result.page)}),
        "n": result.n,
        "limit_reached": result.cut,
        "network": result.network,
        "settings": dict(result.settings),
        **({} if result.truth is None else {"truth": result.truth.as_json()}),
    }


def as_text(result: Result) -> str:
    from regard.measurement.localisation.word_text import word_scores_text
    from regard.rendering.lettering import visible

    lines = [f"{visible(name)}: {visible(text)}" for name, text in result.first]
    pictures = f"{result.n} picture{'s' if result.n != 1 else ''}"
    places = " and ".join(str(place) for place in (result.out, result.page) if place is not None)
    scores = [] if result.truth is None else [word_scores_text(result.truth)]
    scores += map(visible, result.checks.splitlines())
    return "\n".join([*lines, *scores, f"{pictures} captioned by {result.network}, written to {places}"])
