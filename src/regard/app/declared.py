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


def registers(
    data: Data,
    out: MaybeOut = None,
    model: Model = "pets-tiny",
    weights: Weights = None,
    masks: Annotated[Path | None, option("Folder of masks under the pictures' names, white on the object.")] = None,
    search: Annotated[
        int,
        option("Pictures that neurons are searched for in, without labels.", min=1, panel=WORK),
    ] = 48,
    margin: Annotated[float, option("How much accuracy may fall, as a share, for a repair to be accepted.")] = 0.01,
    anyway: Annotated[bool, option("Write the repaired network even where it was not accepted.", "--anyway")] = False,
    split: Split = None,
    size: Size = None,
    device: Device = None,
    batch_size: BatchSize = 16,
    workers: Workers = 2,
    seed: Seed = 0,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
) -> None:
    """Find artifact tokens, repair the network without training, and test whether the repair holds."""


def positions(
    out: Out,
    model: Model = "pets-tiny",
    weights: Weights = None,
    pictures: Annotated[
        list[Path] | None,
        option("Pictures, or folders of them, to see what the network makes of places; may be repeated."),
    ] = None,
    layer: Annotated[
        int | None, option("Block that is read on --pictures, counted from 0; by default the last.")
    ] = None,
    before: Annotated[
        str | None,
        option("Network to compare with; by default the one a run began with.", panel=NETWORK),
    ] = None,
    from_grid: Annotated[
        str | None,
        option(
            "ROWS,COLUMNS that the positions were interpolated from, or none; by default those of 224 pixels "
            "for larger pictures.",
            panel=WORK,
        ),
    ] = None,
    interpolation: Annotated[str, option("How they were interpolated: bicubic or bilinear.", panel=WORK)] = "bicubic",
    permutations: Annotated[
        int | None,
        option("How often positions are permuted; by default 999.", panel=WORK),
    ] = None,
    scale: Annotated[str, option("Colour scale of the tiles: shared, or each its own.", panel=OUTPUT)] = "shared",
    colours: Annotated[str | None, option("Colour map; by default what suits the values.", panel=OUTPUT)] = None,
    size: Size = None,
    device: Device = None,
    batch_size: BatchSize = 8,
    workers: Workers = 2,
    seed: Seed = 0,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
) -> None:
    """Show how a network tells its patches apart: figures, arrays, and numbers with p-values and controls."""
