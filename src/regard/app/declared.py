"""Arguments of the commands whose modules are not yet light."""

from pathlib import Path
from typing import Annotated, Any

from regard.app.options import *  # noqa: F403
from regard.training.recipe import RECIPES


def demo(
    out: Out = Path("demo"),
    overwrite: Overwrite = False,
) -> None:
    """The whole job on what is shipped, offline, in about two minutes: draws, trains, scores, explains, reports."""


def train(
    data: Data,
    out: Out,
    recipe: Annotated[str, option(f"{', '.join(RECIPES)}, or a run's recipe.json to do that run again.")] = "finetune",
    task: Annotated[
        str | None, option("classify, or caption: learn captions instead of labels (docs/captions.md).")
    ] = None,
    model: Model = "pets-tiny",
    weights: Weights = None,
    label: Label = "label",
    split: Split = None,
    group: Group = None,
    slices: Slices = None,
    size: Size = None,
    device: Device = None,
    precision: Annotated[
        str | None,
        option("auto, float32, bfloat16; by default the recipe's.", panel=NETWORK),
    ] = None,
    batch_size: Annotated[
        int | None,
        option("Pictures at a time; by default as the recipe says.", min=1, panel=WORK),
    ] = None,
    workers: Workers = 2,
    seed: Seed = 0,
    skip_bad: SkipBad = False,
    resume: Annotated[bool, option("Go on with an unfinished training in --out.", "--resume", panel=WORK)] = False,
    deterministic: Annotated[
        bool,
        option("On CUDA: only algorithms that always give the same.", "--deterministic", panel=WORK),
    ] = False,
    tensorboard: Annotated[
        bool, option("Write TensorBoard files into the run too.", "--tensorboard", panel=OUTPUT)
    ] = False,
    no_pictures: NoPictures = False,
    anonymise: Anonymise = False,
    overwrite: Overwrite = False,
    **settings: Any,
) -> None:
    """Train a classifier, or a captioner, on a folder of pictures; leaves a run folder with its report."""


def evaluate(
    data: Data,
    model: MaybeModel = None,
    weights: Weights = None,
    predictions: Annotated[
        Path | None, option("Score this CSV (filename,label) instead of a network.", panel=NETWORK)
    ] = None,
    task: Annotated[str | None, option("classify, or caption: score what a captioner says.")] = None,
    label: Label = "label",
    split: Split = None,
    group: Group = None,
    slices: Slices = None,
    keep_seen: Annotated[
        bool,
        option("Score pictures of the training too, and mark the number.", "--keep-seen", panel=DATA),
    ] = False,
    threshold: Annotated[
        float | None,
        option("Probability from which a class counts as found.", min=0, max=1, panel=WORK),
    ] = None,
    size: Size = None,
    device: Device = None,
    precision: Precision = "float32",
    batch_size: BatchSize = 32,
    workers: Workers = 2,
    seed: Seed = 0,
    skip_bad: SkipBad = False,
    out: MaybeOut = None,
    no_pictures: NoPictures = False,
    anonymise: Anonymise = False,
    overwrite: Overwrite = False,
) -> None:
    """Score a classifier honestly: intervals, classes, slices, calibration, the worst mistakes."""


def compare(
    runs: Annotated[list[str], argument("Two runs or more; the first is what the others are compared with.")],
    data: Annotated[
        Path | None, option("Score all on these pictures, instead of what they scored when trained.")
    ] = None,
    label: Label = "label",
    split: Split = None,
    group: Group = None,
    keep_seen: Annotated[bool, option("Score pictures of the trainings too.", "--keep-seen", panel=DATA)] = False,
    device: Device = None,
    precision: Precision = "float32",
    batch_size: BatchSize = 32,
    workers: Workers = 2,
    seed: Seed = 0,
    out: MaybeOut = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare runs on the very same pictures: one table with paired differences."""


def caption(
    pictures: Pictures,
    out: Out,
    model: CaptionModel = "scenes-captioner",
    captions: GivenCaptions = None,
    which: Which = "0",
    prompt: Prompt = None,
    beams: Beams = 1,
    limit: Limit = None,
    method: Annotated[
        str,
        option(
            f"One of: {', '.join(WORD_METHODS)}.",
            callback=method_name,
            complete=complete_methods,
            panel=MAPS,
        ),
    ] = "cross_attention",
    row: Row = "predicting",
    layer: DecoderLayer = None,
    head: DecoderHead = None,
    start: DecoderStart = None,
    depends: Depends = False,
    truth: Truth = None,
    style: Style = "regard",
    format: Format = None,
    colours: MapColours = None,
    device: Device = None,
    batch_size: BatchSize = 8,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
) -> None:
    """Describe each picture, and show for every word where the network looked.

    The same command goes on after an interruption.
    """
