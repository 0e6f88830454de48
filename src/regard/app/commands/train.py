"""`regard train`: a folder of pictures → a run folder: network, split, recipe, metrics, score and report."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from regard.app.options import (
    DATA,
    NETWORK,
    OUTPUT,
    WORK,
    Anonymise,
    Data,
    Device,
    Group,
    ImageColumn,
    Label,
    Masks,
    MaxPixels,
    Model,
    NoPictures,
    Out,
    Overwrite,
    Seed,
    Size,
    SkipBad,
    Slices,
    Split,
    Weights,
    WeightsPart,
    Workers,
    complete_recipes,
    option,
)
from regard.data import MAX_PIXELS
from regard.errors import UsageError
from regard.training.recipe import recipe_for
from regard.training.tasks.table import TASKS, recipes

if TYPE_CHECKING:
    from regard.training.run import Run

STORED = (
    "model",
    "weights",
    "weights_part",
    "label",
    "split",
    "val",
    "group",
    "slices",
    "masks",
    "size",
    "seed",
    "image",
)
"""The arguments that decide a run's result beside its settings, and are saved with it."""
LATER = ("weights_part", "val", "masks", "image")
"""Those that recipes did not always have: they are left out where they are not given."""


def train(
    data: Data,
    out: Out,
    recipe: Annotated[
        str | Path,
        option(
            f"{', '.join(recipes())}, or a run's recipe.json to do that run again.", type=str, complete=complete_recipes
        ),
    ] = "finetune",
    model: Model = "pets-tiny",
    weights: Weights = None,
    weights_part: WeightsPart = None,
    label: Label = "label",
    image: ImageColumn = None,
    split: Split = None,
    val: Annotated[
        float | None,
        option("Share of the pictures to set aside for the score; 0: none, and no score.", min=0, max=0.9, panel=DATA),
    ] = None,
    group: Group = None,
    slices: Slices = None,
    masks: Masks = None,
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
    max_pixels: MaxPixels = MAX_PIXELS,
    skip_bad: SkipBad = False,
    resume: Annotated[bool, option("Go on with an unfinished training in --out.", "--resume", panel=WORK)] = False,
    deterministic: Annotated[
        bool,
        option("On CUDA: only algorithms that always give the same.", "--deterministic", panel=WORK),
    ] = False,
    shard_weights: Annotated[
        bool,
        option("Under torchrun: each process holds its part of the weights.", "--shard-weights", panel=WORK),
    ] = False,
    tensorboard: Annotated[
        bool, option("Write TensorBoard files into the run too.", "--tensorboard", panel=OUTPUT)
    ] = False,
    track: Annotated[
        Sequence[str] | Any,
        option("A tracker to show the run to; may be repeated.", panel=OUTPUT, type=list[str] | None),
    ] = None,
    no_pictures: NoPictures = False,
    anonymise: Anonymise = False,
    overwrite: Overwrite = False,
    task: Annotated[
        str | None, option("classify, multilabel: several labels a picture, or caption (docs/training.md).")
    ] = None,
    **settings: Any,
) -> "Run":
    """Train a classifier, or a captioner, on a folder of pictures; leaves a run folder with its report.

    With `task` "multilabel" pictures have any number of labels, with "caption" it is a captioner. `recipe` is a name
    that `--help` lists or a run's `recipe.json`; any of its settings (`training.tasks.table` explains each) can be
    given by name. `split` trains on that split alone. Up to 1,000 pictures (`few`) without a split of the user's own
    are all trained on, and scored by cross-validation in five `folds`: each picture by a network that had not seen it.
    Of more, and by recipes without a search, a fifth is set aside for the score, stratified, from the seed; `val` gives
    another share, 0 none and no score. With `resume` an unfinished training in `out` goes on, to the same bytes as if
    it had never stopped. `track` names rows of TRACKERS, or is a function `(step, values)`. Raises `DataError`,
    `NetworkError`, `OutputError` or `UsageError`, each in one line.

    >>> import regard
    >>> _ = regard.scenes(24, "drawn", size=64)
    >>> run = regard.train("drawn", "runs/first", recipe="probe", workers=0)
    >>> run.evaluation.n  # pictures set aside (these scenes have a `val`), and scored
    8
    """
    from regard.app.console import phases, progress
    from regard.networks.arguments import check_arguments
    from regard.predictors.command_inputs import check_data
    from regard.training.folder import check_folder

    arguments = {
        name: value for name, value in locals().items() if name in STORED and (value is not None or name not in LATER)
    }
    check_data(data, "train")
    if not isinstance(model, str | Path):
        raise UsageError(
            f"the network to train came as {type(model).__name__}, which no recipe can name again; give the name, run "
            "or checkpoint that it was loaded from"
        )
    overrides = {"batch_size": batch_size, "precision": precision, **settings}
    standard = {name: each.default for name, each in inspect.signature(train).parameters.items()}
    chosen = recipe_for(recipe, task).with_arguments(arguments, standard, overrides)
    check_arguments(model, weights, weights_part)
    check_folder(out, resume=resume, overwrite=overwrite)
    words = chosen.arguments
    dataset = TASKS.load(chosen.task.name, "read")(data, words["label"], words.get("image")).up_to(max_pixels)
    slices = words.get("slices") if chosen.task.name != "caption" else None  # it says that it has no use for it
    dataset.check(words["split"], words["group"], *(slices or ()))
    # torch is imported when nothing else is wrong
    from regard.app.report import drawing
    from regard.audit.notes import repair_command
    from regard.training.run import train as run
    from regard.training.session import Options

    with phases() as show:
        options = Options(
            seed=chosen.arguments["seed"],
            workers=workers,
            resume=resume,
            overwrite=overwrite,
            deterministic=deterministic,
            tensorboard=tensorboard,
            track=track,
            shard_weights=shard_weights,
            progress=show,
            batch_size=batch_size,
            skip_bad=skip_bad,
            bar=progress,
        )
        charts = drawing(Path(out).name, no_pictures, anonymise, repair_command(data, out))
        return run(dataset, Path(out), chosen, options, charts, device=device, precision=precision, skip_bad=skip_bad)


def as_json(run: "Run") -> dict[str, Any]:
    scores = {} if run.evaluation is None else TASKS.load(run.task)().as_json(run.evaluation)
    return {"out": str(run.out), "report": str(run.out / "report.html"), **scores}


def as_text(run: "Run") -> str:
    unscored = "trained on all pictures, and not scored (--val 0)"
    text = unscored if run.evaluation is None else TASKS.load(run.task)().headline(run.evaluation)
    return f"{text}\nreport: {run.out / 'report.html'}"
