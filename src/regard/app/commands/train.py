"""`regard train`: a folder of pictures → a run folder: network, split, recipe, metrics, score and report."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from regard.app.options import (
    NETWORK,
    OUTPUT,
    WORK,
    Anonymise,
    Data,
    Device,
    Group,
    Label,
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
from regard.training.recipe import Recipe, read_recipe
from regard.training.tasks.table import TASKS, find_task, recipes

if TYPE_CHECKING:
    from regard.training.run import Run

STORED = ("model", "weights", "weights_part", "label", "split", "group", "slices", "size", "seed")
"""The arguments that decide a run's result beside its settings, and are saved with it."""


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
    max_pixels: MaxPixels = MAX_PIXELS,
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
    task: Annotated[
        str | None, option("classify, or caption: learn captions instead of labels (docs/captions.md).")
    ] = None,
    **settings: Any,
) -> "Run":
    """Train a classifier, or a captioner, on a folder of pictures; leaves a run folder with its report.

    With `task` "caption" it is a captioner. It is scored on the pictures set aside. `recipe` is a name that `--help`
    lists or a run's `recipe.json`; any of its settings (`training.tasks.table` explains each) can be given by name.
    `split` trains on that split alone; without a split of the user's own, a fifth of the pictures is set aside,
    stratified, from the seed. With `resume` an unfinished training in `out` goes on, to the same bytes as if it had
    never stopped. Raises `DataError`, `NetworkError`, `OutputError` or `UsageError`, each in one line.

    >>> import regard
    >>> _ = regard.scenes(24, "drawn", size=64)
    >>> run = regard.train("drawn", "runs/first", recipe="probe", workers=0)
    >>> run.evaluation.n  # pictures set aside, and scored
    8
    """
    from regard.app.console import phases, progress
    from regard.networks.arguments import check_arguments
    from regard.predictors.command_inputs import check_data
    from regard.training.folder import check_folder

    arguments = {name: value for name, value in locals().items() if name in STORED}
    if weights_part is None:  # as recipes were before there was one
        del arguments["weights_part"]
    check_data(data, "train")
    if not isinstance(model, str | Path):
        raise UsageError(
            f"the network to train came as {type(model).__name__}, which no recipe can name again; give the name, run "
            "or checkpoint that it was loaded from"
        )
    overrides = {"batch_size": batch_size, "precision": precision, **settings}
    chosen = _recipe(_for_task(recipe, task), arguments, overrides)
    check_arguments(model, weights, weights_part)
    check_folder(out, resume=resume, overwrite=overwrite)
    given = chosen.arguments
    dataset = TASKS.load(chosen.task.name, "read")(data, given["label"]).up_to(max_pixels)
    dataset.check(given["split"], given["group"], *(given.get("slices") or ()))
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
            progress=show,
            batch_size=batch_size,
            skip_bad=skip_bad,
            bar=progress,
        )
        charts = drawing(Path(out).name, no_pictures, anonymise, repair_command(data, out))
        return run(dataset, Path(out), chosen, options, charts, device=device, precision=precision, skip_bad=skip_bad)


def _for_task(recipe: str | Path, task: str | None) -> str | Path:
    """The recipe that a task takes: its own, where none was chosen. Raises `UsageError` where they do not agree."""
    row = find_task(task)
    if row is None:
        return recipe
    if recipe == "finetune":
        return row.recipes[0].name
    other = read_recipe(recipe, [each.name for each in row.recipes]).task
    if other.name != row.name:
        raise UsageError(f"the recipe {recipe} is for {other.name}, not for --task {task}; leave one of them out")
    return recipe


def _recipe(recipe: str | Path, arguments: Mapping[str, Any], overrides: Mapping[str, Any]) -> Recipe:
    """The recipe with this command's arguments; those of a stored recipe hold where the command says nothing else."""
    stored = read_recipe(recipe)
    standard = inspect.signature(train).parameters
    changed = {
        name: value
        for name, value in arguments.items()
        if name not in stored.arguments or value != standard[name].default
    }
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in changed.items()}
    chosen = replace(stored, arguments={**stored.arguments, **plain})
    if chosen.settings is None:  # batch size and precision are the probe's too
        overrides = {name: value for name, value in overrides.items() if name not in ("batch_size", "precision")}
    return chosen.changed(overrides)


def as_json(run: "Run") -> dict[str, Any]:
    evaluation = TASKS.load(run.task)().as_json(run.evaluation)
    return {"out": str(run.out), "report": str(run.out / "report.html"), **evaluation}


def as_text(run: "Run") -> str:
    return f"{TASKS.load(run.task)().headline(run.evaluation)}\nreport: {run.out / 'report.html'}"
