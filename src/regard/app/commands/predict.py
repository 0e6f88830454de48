"""`regard predict`: a class for every picture, streamed to a CSV that can be gone on with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from regard.app.listing import Printed
from regard.app.options import (
    OUTPUT,
    AnyModel,
    BatchSize,
    Device,
    MaxPixels,
    Out,
    Overwrite,
    Pictures,
    Precision,
    Seed,
    Size,
    SkipBad,
    Weights,
    WeightsPart,
    Workers,
    option,
)
from regard.data import MAX_PIXELS


@dataclass(frozen=True, repr=False)
class PredictResult(Printed):
    """The file of predictions, and how many rows it has."""

    out: Path
    n: int


def predict(
    pictures: Pictures,
    out: Out,
    model: AnyModel = "pets-tiny",
    weights: Weights = None,
    weights_part: WeightsPart = None,
    probs: Annotated[bool, option("Add every class's probability.", "--probs", panel=OUTPUT)] = False,
    size: Size = None,
    device: Device = None,
    precision: Precision = "float32",
    batch_size: BatchSize = 32,
    workers: Workers = 2,
    seed: Seed = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
) -> PredictResult:
    """Write filename,label for every picture, in order; the same command goes on after an interruption.

    `filename` is what the table or argument calls the picture, as it is written there, else its path relative to DATA.
    With `probs` a column for each class's probability. It goes on after the last whole batch (`results/writer.py`), so
    that the bytes are those of a run that was never interrupted. Raises `OutputError` when `out` exists (unless
    `overwrite`) and `DataError` naming a picture that cannot be read (unless `skip_bad`); what was written until then
    is kept and gone on with.

    >>> import regard
    >>> _ = regard.scenes(2, "drawn")
    >>> regard.predict("drawn/images", "answers.csv", workers=0).n
    2
    >>> print(Path("answers.csv").read_text().splitlines()[0])
    filename,label
    """
    from regard.app.console import progress
    from regard.data.dataset import skipper
    from regard.errors import DataError
    from regard.files import check_free, writing
    from regard.networks.arguments import check_arguments
    from regard.predictors.command_inputs import read_picture_arguments, refuse_network
    from regard.results.predictions import PredictionWriter

    refuse_network(pictures, "pictures", "predict")
    out = Path(out)
    check_free(out, overwrite)
    check_arguments(model, weights, weights_part, precision)
    dataset = read_picture_arguments(pictures, "predict", max_pixels)
    from regard.predictors.classifier import Classifier  # torch is imported when nothing else is wrong

    classifier = Classifier(
        model, weights=weights, weights_part=weights_part, size=size, device=device, precision=precision, seed=seed
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    filenames = dataset.filenames
    fingerprint = classifier.fingerprint(probs, batch_size, filenames)
    with writing(out), PredictionWriter.open(out, fingerprint, len(dataset), overwrite) as writer:
        writer.columns = classifier.classes if probs else ()
        reading: dict[str, Any] = {"batch_size": batch_size, "workers": workers, "on_bad": skipper(skip_bad)}
        with progress("predicting", len(dataset)) as advance:
            advance(writer.pictures)
            for indices, values in classifier.batches(dataset.pictures, start=writer.pictures, **reading):
                for index, row in zip(indices, values, strict=True):
                    label = classifier.classes[row.argmax()]
                    writer.append(filenames[index], label, row.tolist() if probs else ())
                writer.commit(indices[-1] + 1)
                advance(len(indices))
        if not writer.n:
            raise DataError("none of the pictures could be read")
        writer.finish_file(out)
    return PredictResult(out, writer.n)


def as_json(result: PredictResult) -> dict[str, Any]:
    return {"out": str(result.out), "n": result.n}


def as_text(result: PredictResult) -> str:
    return f"{result.n} picture{'s' if result.n != 1 else ''} predicted, written to {result.out}"
