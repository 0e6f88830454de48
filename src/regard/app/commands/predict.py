"""`regard predict`: a class for every picture, streamed to a CSV that can be gone on with."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from regard.app import options as opt
from regard.app.console import progress
from regard.app.listing import Printed
from regard.data import MAX_PIXELS
from regard.jobs.bulk.arguments import is_bulk, run_bulk
from regard.networks.arguments import check_arguments, views_facts, views_text

if TYPE_CHECKING:
    from regard.jobs.bulk.run import BulkRun


@dataclass(frozen=True, repr=False)
class PredictResult(Printed):
    """The file of predictions, and how many rows it has; the page, where there is one."""

    out: Path | None
    n: int
    page: Path | None = None
    tta: str | None = None


def predict(
    pictures: opt.Pictures,
    out: opt.OutOrMemory = None,
    model: opt.AnyModel = "pets-tiny",
    weights: opt.Weights = None,
    weights_part: opt.WeightsPart = None,
    probs: Annotated[bool, opt.option("Add every class's probability.", "--probs", panel=opt.OUTPUT)] = False,
    page: opt.Page = None,
    no_pictures: opt.NoPictures = False,
    anonymise: opt.Anonymise = False,
    tta: opt.Tta = None,
    size: opt.Size = None,
    device: opt.Device = None,
    precision: opt.Precision = "float32",
    batch_size: opt.BatchSize = 32,
    workers: opt.Workers = 2,
    seed: opt.Seed = 0,
    image: opt.ImageColumn = None,
    max_pixels: opt.MaxPixels = MAX_PIXELS,
    skip_bad: opt.SkipBad = False,
    overwrite: opt.Overwrite = False,
    jobs: opt.Jobs = None,
    columns: opt.Columns = None,
    masks: opt.Masks = None,
    dry_run: opt.DryRun = False,
    unit: opt.Unit = None,
    threads: opt.Threads = None,
) -> "PredictResult | BulkRun":
    """Write filename,label for every picture, in order; the same command goes on after an interruption.

    `filename` is what the table or argument calls the picture, as it is written there, else its path relative to
    DATA; `label` is the class, or, of a network that gives several labels, those of a probability of 0.5 or more, as
    `cat|dog`. With `probs` a column for each class's probability. The file `page` shows the answers with where the
    network looks. With `tta` each answer is the mean over several views of the picture (test-time augmentation). It
    goes on after the last whole batch (`results/writer.py`), so that the bytes are those of a run that was never
    interrupted. Raises `OutputError` when `out` exists (unless `overwrite`) and `DataError` naming a picture that
    cannot be read (unless `skip_bad`); what was written until then is kept and gone on with.

    >>> import regard
    >>> _ = regard.scenes(2, "drawn")
    >>> regard.predict("drawn/images", "answers.csv", workers=0).n
    2
    >>> print(Path("answers.csv").read_text().splitlines()[0])
    filename,label
    """
    if is_bulk(locals()):
        return run_bulk(predict, locals(), progress)
    from regard.data.dataset import skipper
    from regard.errors import DataError, UsageError
    from regard.files import check_free, writing
    from regard.predictors.command_inputs import read_picture_arguments, refuse_network
    from regard.predictors.page_plan import PagePlan
    from regard.results.predictions import PredictionWriter

    refuse_network(pictures, "pictures", "predict")
    page_plan = PagePlan.of(page, overwrite, None, None, no_pictures, anonymise)
    if out is None and page_plan is None:
        raise UsageError("nothing would be written; give `out` for a table, or `page` for a page")
    if out is not None:
        check_free(out, overwrite)
    check_arguments(model, weights, weights_part, precision, tta)
    if tta is not None and page_plan is not None:
        raise UsageError("a page shows what the network makes of the picture as it is; leave --tta out, or --page")
    dataset = read_picture_arguments(pictures, "predict", max_pixels, image)
    from regard.app.inspecting import write_page
    from regard.predictors.classifier import Classifier  # torch is imported when nothing else is wrong

    classifier = Classifier(
        model, weights=weights, weights_part=weights_part, size=size, device=device, precision=precision, seed=seed
    )
    page_file = None if page_plan is None else page_plan.file
    if page_plan is not None:
        quick = {"methods": ("attention",), "curve": False}
        content = page_plan.inspect(classifier, model, dataset, quick, None, progress, on_bad=skipper(skip_bad))
        count = write_page(page_plan, content)
    if out is None:
        return PredictResult(None, count, page_file)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    filenames = dataset.filenames
    fingerprint = classifier.fingerprint(probs, batch_size, filenames, *filter(None, [tta]))
    with writing(out), PredictionWriter.open(out, fingerprint, len(dataset), overwrite) as writer:
        writer.columns = classifier.classes if probs else ()
        reading: dict[str, Any] = {
            "batch_size": batch_size,
            "workers": workers,
            "on_bad": skipper(skip_bad),
            "tta": tta,
        }
        with progress("predicting", len(dataset)) as advance:
            advance(writer.pictures)
            for indices, values in classifier.batches(dataset.pictures, start=writer.pictures, **reading):
                for index, row, label in zip(indices, values, classifier.labels_of(values), strict=True):
                    writer.append(filenames[index], label, row.tolist() if probs else ())
                writer.commit(indices[-1] + 1)
                advance(len(indices))
        if not writer.n:
            raise DataError("none of the pictures could be read")
        writer.finish_file(out)
    return PredictResult(out, writer.n, page_file, tta)


def as_json(result: PredictResult) -> dict[str, Any]:
    page = {} if result.page is None else {"page": str(result.page)}
    return {"out": str(result.out), **page, "n": result.n, **views_facts(result.tta)}


def as_text(result: PredictResult) -> str:
    places = " and ".join(str(place) for place in (result.out, result.page) if place is not None)
    views = views_text(views_facts(result.tta))
    return f"{result.n} picture{'s' if result.n != 1 else ''} predicted{' ' * bool(views)}{views}, written to {places}"
