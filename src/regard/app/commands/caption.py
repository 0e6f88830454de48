"""`regard caption`: what a network writes of each picture, or how it aligns a given caption, with a map for every word.

Whatever the number of pictures, memory stays the same: panels, maps and entries go to the disk as they come, and the
same command after an interruption goes on where it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from regard.app.caption_output import CaptionOutput, warn
from regard.app.caption_panels import style_of
from regard.app.output import OutputPlan
from regard.app.word_truth import Result as Measured
from regard.app.word_truth import Truths
from regard.app.word_truth import as_json as measured_json
from regard.app.word_truth import as_text as measured_text
from regard.data.dataset import skipper
from regard.data.layouts import read_pictures
from regard.data.layouts.captions import captions_for
from regard.errors import UsageError
from regard.files import check_free
from regard.networks.captioners.base import CaptionNetwork
from regard.predictors.caption_job import CaptionInput, CaptionJob, caption_tokens, check_comparable
from regard.predictors.caption_options import CAPTURED, CaptionOptions
from regard.predictors.captioner import Captioner
from regard.records.captions import Caption
from regard.rendering.figures.canvas import fitted
from regard.rendering.figures.caption_panels import LONGEST
from regard.rendering.lettering import visible
from regard.results.caption_table import read_caption_table
from regard.results.captions import read_captions


@dataclass(frozen=True)
class Result:
    """The captions of `n` pictures, in the folder or table `out`; `cut` of them reached the length limit.

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
    `catr-v3`, or a checkpoint file), `hf:ID`, a Hugging Face folder, or a `CaptionNetwork` that is loaded already. With
    `captions`, a COCO-style .json, a .csv with filename,caption or a folder with one of these, captions are not made
    but given word by word: of several for a picture the one at `which`, from 0, or "all". `prompt` is what the caption
    begins with or answers, `limit` the most tokens of a caption that is made.

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
    options = CaptionOptions(prompt, beams, limit, method, row, layer, head, start, depends)
    plan = OutputPlan.of(out, format, None, None, colours)
    panels = plan.format == "panels"
    drawing = style_of(style, row, colours)
    _check_together(options, style, panels, captions, which)
    check_free(out, overwrite)
    truths = None if truth is None else Truths.of(truth)
    dataset = read_pictures(pictures if isinstance(pictures, str | Path) else list(pictures))
    if captions is None:
        inputs = [CaptionInput(picture) for picture in dataset.pictures]
        source = None
    else:
        inputs = [CaptionInput(*each) for each in captions_for(dataset, captions, which, skip_bad)]
        source = {"captions": Path(captions).name, "which": str(which)}
    if depends:
        check_comparable(inputs)
    if truths is not None:
        truths.check(item.name for item in inputs)
    network = Captioner(model, device=device).network
    options = options.fitted(network)
    for item in inputs:
        if item.caption is not None:
            caption_tokens(network, item)  # one without words is named before any work
    preview = partial(fitted, tile=LONGEST) if panels else None
    job = CaptionJob(network, options, source, batch_size, skipper(skip_bad), preview)
    tally, measured = CaptionOutput(out, panels, drawing, truths).write(job, inputs)
    warn(tally, job)
    return Result(out, tally.n, tally.cut.n, network.name, job.settings, tuple(tally.examples), measured)


def _check_together(
    options: CaptionOptions, style: str, panels: bool, captions: str | Path | None, which: str | int
) -> None:
    """Raise `UsageError` for options that mean nothing beside each other."""
    if style != "regard" and not panels:
        raise UsageError(f"--style {style} is of panels, and a table has none; give --out FOLDER for them")
    if captions is None and str(which) != "0":
        raise UsageError(f"--which {which} is of captions that are given; give --captions FILE with it")
    for name, value in (("beams", options.beams != 1), ("limit", options.limit is not None)):
        if captions is not None and value:
            raise UsageError(f"--{name} is of captions that are made, and --captions gives them; leave one out")


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
    lines = [f"{visible(name)}: {visible(text)}" for name, text in result.first]
    pictures = f"{result.n} picture{'s' if result.n != 1 else ''}"
    measured = [] if result.truth is None else [measured_text(result.truth)]
    return "\n".join([*lines, *measured, f"{pictures} captioned by {result.network}, written to {result.out}"])
