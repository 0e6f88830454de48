"""`regard evaluate`: an honest score, on pictures that the network did not learn from."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from regard.app.listing import Printed
from regard.app.options import (
    NETWORK,
    WORK,
    Anonymise,
    BatchSize,
    Data,
    Device,
    Group,
    ImageColumn,
    KeepSeen,
    Label,
    MaxPixels,
    MaybeModel,
    MaybeOut,
    NoPictures,
    Overwrite,
    Precision,
    Seed,
    Size,
    SkipBad,
    Slices,
    Split,
    Tta,
    Weights,
    WeightsPart,
    Workers,
    option,
)
from regard.data import MAX_PIXELS
from regard.errors import UsageError
from regard.files import check_free, new_folder, write_file
from regard.networks.arguments import check_arguments, views_text
from regard.training.tasks.table import DEFAULT, TASKS, TaskRow, find_task


@dataclass(frozen=True, repr=False)
class Result(Printed):
    """The evaluation, the task it is of, and the folder it was written to, if it was."""

    evaluation: Any
    task: str
    out: Path | None = None


def evaluate(
    data: Data,
    model: MaybeModel = None,
    weights: Weights = None,
    weights_part: WeightsPart = None,
    predictions: Annotated[
        str | Path | None,
        option("Score this CSV (filename,label) instead of a network.", panel=NETWORK, type=Path | None),
    ] = None,
    task: Annotated[
        str | None, option("classify, multilabel (several labels a picture), or caption: what a captioner says.")
    ] = None,
    label: Label = "label",
    image: ImageColumn = None,
    split: Split = None,
    group: Group = None,
    slices: Slices = None,
    keep_seen: KeepSeen = False,
    threshold: Annotated[
        float | None,
        option("Probability from which a class counts as found.", min=0, max=1, panel=WORK),
    ] = None,
    tta: Tta = None,
    size: Size = None,
    device: Device = None,
    precision: Precision = "float32",
    batch_size: BatchSize = 32,
    workers: Workers = 2,
    seed: Seed = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    skip_bad: SkipBad = False,
    out: MaybeOut = None,
    no_pictures: NoPictures = False,
    anonymise: Anonymise = False,
    overwrite: Overwrite = False,
) -> Result:
    """Score a classifier honestly: intervals, classes, slices, calibration, the worst mistakes.

    Score a network, or predictions made elsewhere, on labelled pictures; with `task` "multilabel" on pictures with any
    number of labels, "caption" a captioner on pictures with captions: of a run it is what it learnt. Without a `model`
    it is what ships: `pets-tiny`, or `scenes-captioner`.

    `model` may also be a module whose classes are known, `regard.load(module, classes=[...])`, or what `regard.load`
    gave; of one that was read from a run it is known what it was trained on.

    Scored is `split`, by default `val`, else `test`, else everything. Pictures that the run was trained on are left
    out, or, where all were or with `keep_seen`, the number is marked "seen in training". With `out` a result folder:
    `scores.json`, tables, figures and `report.html`. With `tta` each answer is the mean over several views of the
    picture (test-time augmentation), which takes as many times as long, and the result says so.

    >>> import regard
    >>> _ = regard.scenes(16, "drawn", size=64)
    >>> result = regard.evaluate("drawn", predictions="drawn/index.csv")  # the labels themselves
    >>> print(result.evaluation.scores["top1"])
    1.000 [0.806, 1.000]
    """
    from regard.app.console import progress
    from regard.measurement.classification.predictions import check_file
    from regard.predictors.command_inputs import check_data

    check_data(data, "evaluate")
    if out is not None:
        check_free(out, overwrite)
    check_arguments(model, weights, weights_part, precision, tta)
    if predictions is not None:
        check_file(predictions)
    row = _task(task, model)
    dataset = TASKS.load(row.name, "read")(data, label, image).up_to(max_pixels).check(split, group, *(slices or ()))
    from regard.app.report import drawing  # torch is imported when nothing else is wrong
    from regard.audit.notes import repair_command
    from regard.training.tasks.base import EvaluationOptions

    options = EvaluationOptions(
        weights=weights,
        weights_part=weights_part,
        predictions=predictions,
        label=label,
        split=split,
        group=group,
        slices=tuple(slices or ()),
        keep_seen=keep_seen,
        threshold=threshold,
        size=size,
        device=device,
        precision=precision,
        batch_size=batch_size,
        workers=workers,
        seed=seed,
        skip_bad=skip_bad,
        tta=tta,
        progress=progress,
    )
    loaded = TASKS.load(row.name)()
    result = loaded.evaluate(dataset, row.model if model is None else model, options)
    if out is not None:
        name = row.model if model is None else model
        files = {"weights": weights, "weights-part": weights_part, "size": size}
        repair = repair_command(data, name, **files) if isinstance(name, str | Path) else ""
        charts = drawing(Path(out).name, no_pictures, anonymise, repair)
        content = loaded.page(result)
        if views := views_text(result.evaluation.provenance):
            content = replace(content, facts={**content.facts, "Answers": f"{views}; maps are of the picture as it is"})
        html = charts.report(content, result.pictures, None, (), result.evaluation)
        with new_folder(out, overwrite) as folder:
            write_file(folder / "report.html", html)
            loaded.write(folder, result.evaluation, seed, charts.figures)
    return Result(result.evaluation, row.name, None if out is None else Path(out))


def _task(task: str | None, model: Any) -> TaskRow:
    """The task that is scored. Raises `UsageError` where it is not what the network learnt."""
    from regard.networks.run import run_of, task_of
    from regard.networks.tasks import CAPTIONING, MULTILABEL

    row = find_task(task)
    run = run_of(model)
    stored = CAPTIONING if hasattr(model, "teacher_force") else None if run is None else task_of(run)
    stored = MULTILABEL if getattr(model, "several_labels", False) else stored
    if row is None:
        return next((each for each in TASKS if each.stored == stored), TASKS[DEFAULT])
    if stored is not None and stored != row.stored:
        name = getattr(model, "name", model)
        raise UsageError(f"{name} is a run of {stored}, which --task {task} does not fit; leave --task out")
    return row


def as_json(result: Result) -> dict[str, Any]:
    views = {name: each for name, each in result.evaluation.provenance.items() if name == "tta"}
    where = {} if result.out is None else {"out": str(result.out), "report": str(result.out / "report.html")}
    return {**where, **views, **TASKS.load(result.task)().as_json(result.evaluation)}


def as_text(result: Result) -> str:
    evaluation = result.evaluation
    width = max(map(len, evaluation.scores))
    lines = [f"{name:<{width}}  {score}" for name, score in evaluation.scores.items()]
    parts = TASKS.load(result.task)().details(evaluation)
    note = [f"({evaluation.note})"] if evaluation.note else []
    where = [] if result.out is None else [f"report: {result.out / 'report.html'}"]
    views = views_text(evaluation.provenance)
    title = f"{evaluation.n} pictures, values with 95 % intervals{', ' * bool(views)}{views}"
    return "\n".join([title, *lines, *parts, *note, *where])
