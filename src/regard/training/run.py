"""A whole run of any task: pictures read, hashed and split; a network trained, scored and saved, with its report."""

import io
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from regard.data.dataset import Dataset, skipper
from regard.data.hashes import across_splits, duplicates, fingerprints, pairs_text, picture_hashes
from regard.data.images.decode import open_picture
from regard.data.splits import split_rows, together
from regard.errors import DataError, RegardError, UsageError
from regard.files import check_free, claimed, new_folder, write_file, writing
from regard.measurement.selection import earlier_rows
from regard.records import Evaluation
from regard.records.display import Readable, few
from regard.results.evaluations import EVALUATION, Figures
from regard.training.folder import (
    FinishedRunError,
    add_earlier,
    check_folder,
    check_recipe,
    check_same,
    finish,
    identity,
    write_start,
)
from regard.training.journal import METRICS, TIMING, json_lines
from regard.training.processes import first_process
from regard.training.recipe import Recipe
from regard.training.session import InterruptedTrainingError, Options
from regard.training.tasks.base import AnyEvaluation, Evaluated, PageContent, Parts, Task, fact_text
from regard.training.tracking import Tracking, numbers

log = logging.getLogger("regard")


@dataclass(frozen=True, repr=False)
class Run(Readable):
    """A finished run: its folder, its task, its score, and what the user should know.

    The `evaluation` is of the pictures set aside, or by cross-validation; None where all were trained on (`val` 0).
    """

    out: Path
    task: str
    evaluation: Any
    messages: tuple[str, ...] = ()

    def __str__(self) -> str:
        return few([f"{self.out}, a run of {self.task}", *str(self.evaluation).splitlines(), *self.messages])


@dataclass(frozen=True)
class Drawing:
    """How a run's results are drawn: `report` gives the HTML of a page, `figures` the charts of an evaluation, `maps`
    where the network looks on a few pictures, as arrays."""

    report: Callable[[PageContent, Dataset, Recipe | None, Sequence[Mapping[str, Any]], AnyEvaluation | None], str]
    figures: Figures
    maps: Callable[[Any, Dataset], Mapping[str, Any]] = lambda network, pictures: {}


@dataclass
class _Notes:
    """What is noted along the way: the lines of `timing.jsonl`, and messages that the report repeats."""

    times: list[dict[str, Any]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def warn(self, message: str) -> None:
        log.warning(message)
        self.messages.append(message)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.times.append({"phase": name, "seconds": round(time.perf_counter() - start, 3)})


def train(
    dataset: Dataset,
    out: Path,
    recipe: Recipe,
    options: Options,
    drawing: Drawing,
    *,
    device: str | None = None,
    precision: str | None = None,
    skip_bad: bool = False,
) -> Run:
    """Train what `recipe.task` names, and score it; the run's folder is `out`.

    A recipe that trains the network itself takes long: its folder is there from the start, and can be resumed. The
    folder of one that does not (a probe) appears with its network, or not at all. Whatever fails after that, the
    network is saved, and `resume` writes the rest.
    """
    tracking = Tracking(options.hooks)
    options = replace(options, tracking=tracking)
    with claimed(out) if first_process() else nullcontext(), closing(tracking):
        return _train(dataset, out, recipe, options, drawing, device, precision, skip_bad)


def _train(
    dataset: Dataset,
    out: Path,
    recipe: Recipe,
    options: Options,
    drawing: Drawing,
    device: str | None,
    precision: str | None,
    skip_bad: bool,
) -> Run:
    row = recipe.task
    task: Task = recipe.load_task()()
    task.check(recipe)
    quick = recipe.settings is None
    state = check_folder(out, resume=options.resume, overwrite=options.overwrite)
    if quick:
        if options.resume and state != "begun":
            raise UsageError(f"the recipe {recipe.name!r} keeps its features and starts anew; leave --resume out")
        if not options.resume:
            check_free(out, options.overwrite)
    if options.resume:
        check_recipe(out, recipe)
    notes = _Notes()
    with notes.phase("reading"):
        parts = read_parts(task, dataset, recipe, notes.warn, skip_bad)
    network = task.build(recipe, parts.training, device, precision)
    start = None
    if quick:
        rows = split_rows([parts.training, parts.validation], parts.hashes, recipe.arguments["group"])
        start = identity(network, rows, recipe, {"seed": options.seed})
        if state == "begun" and options.resume:
            check_same(out, start, rows)
    try:
        outcome = task.train(network, parts, recipe, out, options)
    except FinishedRunError:
        log.info(f"{out} is finished already; nothing to do")
        return Run(out, row.name, task.stored(out))
    for message in outcome.messages:
        notes.warn(message)
    parts = outcome.parts or parts
    notes.times += outcome.times
    if outcome.main:
        in_place = state == "begun" and options.resume
        with new_folder(out, options.overwrite) if quick and not in_place else nullcontext(out) as folder:
            if start is not None:
                rows = split_rows([parts.training, parts.validation], parts.hashes, recipe.arguments["group"])
                write_start(folder, recipe, rows, start)
            add_earlier(folder, parts.earlier)
            task.save(network, folder)  # before anything that can fail: a finished training is not lost to its report
    with _network_saved(out):
        with notes.phase("scoring"):
            evaluation = task.score(network, parts, outcome, recipe, options)
        run = Run(out, row.name, evaluation, tuple(notes.messages))
        if not outcome.main:
            return run
        metrics = list(outcome.metrics)
        if quick:
            if evaluation is not None:
                scores = {name: score.as_json() for name, score in evaluation.scores.items()}
                metrics.append({"phase": "validate", "n": evaluation.n, **scores})
            write_file(out / METRICS, json_lines(metrics))
            write_file(out / TIMING, json_lines(notes.times))
        if options.tracking is not None and not options.tracking.is_open:  # as its lines are written all at once
            options.tracking.open(out, 0)
            for step, line in enumerate(metrics):
                options.tracking.log(step, numbers(line))
        notes.messages += options.tracking.messages if options.tracking is not None else ()
        facts = {
            name.replace("_", " ").capitalize(): fact_text(value)
            for name, value in outcome.facts.items()
            if value is not None
        }
        pictures = parts.validation if len(parts.validation) else parts.training
        content = task.page(Evaluated(evaluation, network, pictures), {"Recipe": recipe.name, **facts}, parts)
        content = PageContent(**{**vars(content), "messages": [*content.messages, *notes.messages]})
        if evaluation is not None:
            task.write(out / EVALUATION, evaluation, recipe.arguments["seed"], drawing.figures)
        html = drawing.report(content, pictures, recipe, metrics, evaluation)
        write_file(out / "report.html", html)
        _track(out, options.tracking, metrics, Evaluated(evaluation, content.network, pictures), drawing)
        finish(out)
    return run


def _track(
    out: Path,
    tracking: Tracking | None,
    metrics: Sequence[Mapping[str, Any]],
    result: Evaluated,
    drawing: Drawing,
) -> None:
    """Show trackers the end of a run: scores, the figures of its evaluation and maps."""
    if not tracking:
        return
    evaluation = result.evaluation
    scores = {} if evaluation is None else {f"score/{name}": each.value for name, each in evaluation.scores.items()}
    figures = drawing.figures(evaluation) if isinstance(evaluation, Evaluation) else {}
    images = {
        f"figures/{Path(name).stem}": np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        for name, content in figures.items()
    }
    maps = {f"maps/{name}": values for name, values in drawing.maps(result.network, result.pictures).items()}
    tracking.log(len(metrics), {**scores, **images, **maps})


@contextmanager
def _network_saved(out: Path) -> Iterator[None]:
    """While results of a trained network are made: whatever stops it says that the network is saved."""
    advice = f"the network is trained and saved in {out}: the same command with --resume writes the rest"
    try:
        with writing(out):
            yield
    except KeyboardInterrupt as error:
        raise InterruptedTrainingError(f"interrupted while results were written; {advice}") from error
    except RegardError as error:
        raise type(error)(f"{error}; {advice}") from error
    except Exception:
        log.warning(advice)
        raise


def read_parts(task: Task, dataset: Dataset, recipe: Recipe, warn: Callable[[str], None], skip_bad: bool) -> Parts:
    """Hash and split; duplicates stay on one side where regard splits, and are named where the user did.

    Every picture is opened once. Raises `DataError` for one that cannot be read, or, with `skip_bad`, goes without it.
    """
    if recipe.arguments["split"] is not None:
        dataset = dataset.part(recipe.arguments["split"]).unsplit()
    prints = fingerprints(dataset.pictures)
    if not prints.readable.all():
        _name_unreadable(dataset, np.flatnonzero(~prints.readable).tolist(), skip_bad)
        dataset = dataset.select(np.flatnonzero(prints.readable).tolist())
        prints = prints.of_readable()
    hashes = picture_hashes(dataset.pictures)
    pairs = duplicates(dataset, hashes, prints)
    if leaking := across_splits(dataset, pairs):
        warn(pairs_text(dataset, leaking, "on both sides of the split: the score looks better than it is"))
    for doubt in task.doubts(dataset, pairs):
        warn(doubt)
    twins = [(pair.first, pair.second) for pair in pairs]
    training, validation = task.split(dataset, recipe, twins)
    units = together(dataset, recipe.arguments["group"], twins).tolist()
    earlier = earlier_rows(recipe.arguments.get("model"))
    learnt = {row.sha256 for row in earlier}
    scored = training if not len(validation) and recipe.arguments.get("val") != 0 else validation
    if count := sum(hashes[name] in learnt for name in scored.names):
        model = Path(recipe.arguments["model"]).name
        warn(f"{count} of the {len(scored)} pictures that give the score had been learnt by {model}: it is too good")
    return Parts(training, validation, hashes, dict(zip(dataset.names, units, strict=True)), earlier)


def _name_unreadable(dataset: Dataset, indices: Sequence[int], skip_bad: bool) -> None:
    """Say what is wrong with each picture that cannot be read; raises the first `DataError` unless `skip_bad`."""
    on_bad = skipper(skip_bad)
    for index in indices:
        picture = dataset.pictures[index]
        try:
            open_picture(picture.opener)
        except DataError as error:
            if on_bad is None:
                raise
            on_bad(picture, error)
