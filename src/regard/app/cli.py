"""The command line: thin words around the functions of the same names and arguments.

Results go to stdout (`--json`: one JSON object), messages and progress to stderr. Exit codes: 0 done, 1 the work
failed, 2 the command was wrong, 130 interrupted. Heavy modules are imported only when a command runs, so that
`--help` answers at once.
"""

import json as json_module
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from regard.app.console import first_process, messages, stderr
from regard.app.options import (
    NETWORK,
    OUTPUT,
    WORK,
    Against,
    Anonymise,
    BatchSize,
    Beams,
    Captioner,
    Captions,
    Data,
    DecoderHead,
    DecoderLayer,
    DecoderStart,
    Depends,
    Device,
    Figure,
    Format,
    Group,
    Head,
    Json,
    Label,
    Layer,
    Limit,
    MapColours,
    MaybeModel,
    MaybeOut,
    Model,
    NoPictures,
    Out,
    Overwrite,
    Pictures,
    Precision,
    Prompt,
    Query,
    Row,
    Samples,
    Seed,
    Sheet,
    Size,
    SkipBad,
    Slices,
    Split,
    Start,
    Steps,
    Style,
    Target,
    Truth,
    Weights,
    Which,
    Workers,
    with_settings,
)
from regard.errors import RegardError
from regard.explanation import METHODS
from regard.training.recipe import RECIPES

app = typer.Typer(
    name="regard",
    help="Fine-tune a vision transformer on your pictures, and see, and measure, what it looks at.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog="Add --debug to any command for the traceback of an error.",
)

PICTURE_METHODS, WORD_METHODS = (tuple(row.name for row in METHODS if row.kind == kind) for kind in ("picture", "word"))
DEFAULT_MODEL, DEFAULT_CAPTIONER = "pets-tiny", "scenes-captioner"


def _method(value: str) -> str:
    """Check a method's name at the door, before anything heavy is imported."""
    return METHODS[value].name


@app.command(rich_help_panel="Start here")
def demo(
    out: Out = Path("demo"),
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """The whole job on what is shipped, offline, in about two minutes: draws, trains, scores, explains, reports."""
    _do("demo", locals())


@app.command(rich_help_panel="Start here")
def scenes(
    n: Annotated[int, typer.Argument(metavar="N", help="How many pictures.")],
    out: Out,
    size: Annotated[int, typer.Option(help="Side in pixels.", rich_help_panel=OUTPUT)] = 224,
    val: Annotated[float, typer.Option(help="Share of each class to validate with.", rich_help_panel=OUTPUT)] = 0.2,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Draw pictures with labels, captions and exact masks of every object and part: truth without a download."""
    _do("scenes", locals())


@app.command(rich_help_panel="Train and score")
@with_settings
def train(
    data: Data,
    out: Out,
    recipe: Annotated[
        str, typer.Option(help=f"{', '.join(RECIPES)}, or a run's recipe.json to do that run again.")
    ] = "finetune",
    task: Annotated[
        str | None, typer.Option(help="classify, or caption: learn captions instead of labels (docs/captions.md).")
    ] = None,
    model: Model = DEFAULT_MODEL,
    weights: Weights = None,
    label: Label = "label",
    split: Split = None,
    group: Group = None,
    slices: Slices = None,
    size: Size = None,
    device: Device = None,
    precision: Annotated[
        str | None,
        typer.Option(help="auto, float32, bfloat16; by default the recipe's.", rich_help_panel=NETWORK),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Pictures at a time; by default as the recipe says.", rich_help_panel=WORK),
    ] = None,
    workers: Workers = 2,
    seed: Seed = 0,
    skip_bad: SkipBad = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an unfinished training in --out.", rich_help_panel=WORK)
    ] = False,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic", help="On CUDA: only algorithms that always give the same.", rich_help_panel=WORK
        ),
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard files into the run too.", rich_help_panel=OUTPUT)
    ] = False,
    no_pictures: NoPictures = False,
    anonymise: Anonymise = False,
    overwrite: Overwrite = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Train a classifier, or a captioner, on a folder of pictures; leaves a run folder with its report."""
    given = {name: value for name, value in locals().items() if name != "settings"}
    _do("train", {**given, **{name: value for name, value in settings.items() if value is not None}})


@app.command(rich_help_panel="Train and score")
def evaluate(
    data: Data,
    model: MaybeModel = None,
    weights: Weights = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Score this CSV (filename,label) instead of a network.", rich_help_panel=NETWORK)
    ] = None,
    task: Annotated[str | None, typer.Option(help="classify, or caption: score what a captioner says.")] = None,
    label: Label = "label",
    split: Split = None,
    group: Group = None,
    slices: Slices = None,
    keep_seen: Annotated[
        bool,
        typer.Option(
            "--keep-seen", help="Score pictures of the training too, and mark the number.", rich_help_panel="The data"
        ),
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Probability from which a class counts as found.", rich_help_panel=WORK),
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
    json: Json = False,
) -> None:
    """Score a classifier honestly: intervals, classes, slices, calibration, the worst mistakes."""
    _do("evaluate", locals())


@app.command(rich_help_panel="Train and score")
def predict(
    pictures: Pictures,
    out: Out,
    model: Model = DEFAULT_MODEL,
    weights: Weights = None,
    probs: Annotated[
        bool, typer.Option("--probs", help="Add every class's probability.", rich_help_panel=OUTPUT)
    ] = False,
    size: Size = None,
    device: Device = None,
    precision: Precision = "float32",
    batch_size: BatchSize = 32,
    workers: Workers = 2,
    seed: Seed = 0,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write filename,label for every picture, in order; the same command goes on after an interruption."""
    _do("predict", locals())


@app.command(rich_help_panel="Train and score")
def compare(
    runs: Annotated[
        list[str], typer.Argument(help="Two runs or more; the first is what the others are compared with.")
    ],
    data: Annotated[
        Path | None, typer.Option(help="Score all on these pictures, instead of what they scored when trained.")
    ] = None,
    label: Label = "label",
    split: Split = None,
    group: Group = None,
    keep_seen: Annotated[
        bool, typer.Option("--keep-seen", help="Score pictures of the trainings too.", rich_help_panel="The data")
    ] = False,
    device: Device = None,
    precision: Precision = "float32",
    batch_size: BatchSize = 32,
    workers: Workers = 2,
    seed: Seed = 0,
    out: MaybeOut = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Compare runs on the very same pictures: one table with paired differences."""
    _do("compare", locals())


@app.command(rich_help_panel="Look")
def explain(
    pictures: Pictures,
    out: Out,
    method: Annotated[
        str, typer.Option(help=f"One of: {', '.join(PICTURE_METHODS)} (see `regard methods`).", callback=_method)
    ] = "attention",
    layer: Layer = None,
    head: Head = None,
    query: Query = "CLS",
    start: Start = None,
    target: Target = None,
    against: Against = None,
    steps: Steps = None,
    samples: Samples = None,
    model: Model = DEFAULT_MODEL,
    weights: Weights = None,
    format: Format = None,
    figure: Figure = None,
    sheet: Sheet = None,
    colours: MapColours = None,
    size: Size = None,
    device: Device = None,
    precision: Precision = "float32",
    batch_size: BatchSize = 8,
    workers: Workers = 2,
    seed: Seed = 0,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Show what a network looks at: a panel for each picture and the maps as arrays, or one Parquet table.

    The same command goes on after an interruption.
    """
    _do("explain", locals())


@app.command(rich_help_panel="Look")
def caption(
    pictures: Pictures,
    out: Out,
    model: Captioner = DEFAULT_CAPTIONER,
    captions: Captions = None,
    which: Which = "0",
    prompt: Prompt = None,
    beams: Beams = 1,
    limit: Limit = None,
    method: Annotated[
        str,
        typer.Option(
            help=f"One of: {', '.join(WORD_METHODS)}.",
            callback=_method,
            rich_help_panel="Maps of the words",
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
    json: Json = False,
) -> None:
    """Describe each picture, and show for every word where the network looked.

    The same command goes on after an interruption.
    """
    _do("caption", locals())


@app.command(rich_help_panel="Look")
def registers(
    data: Data,
    out: MaybeOut = None,
    model: Model = DEFAULT_MODEL,
    weights: Weights = None,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of masks under the pictures' names, white on the object.")
    ] = None,
    search: Annotated[
        int,
        typer.Option(min=1, help="Pictures that neurons are searched for in, without labels.", rich_help_panel=WORK),
    ] = 48,
    margin: Annotated[
        float, typer.Option(help="How much accuracy may fall, as a share, for a repair to be accepted.")
    ] = 0.01,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Write the repaired network even where it was not accepted.")
    ] = False,
    split: Split = None,
    size: Size = None,
    device: Device = None,
    batch_size: BatchSize = 16,
    workers: Workers = 2,
    seed: Seed = 0,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Find artifact tokens, repair the network without training, and test whether the repair holds."""
    _do("registers", locals())


@app.command(rich_help_panel="Look")
def positions(
    out: Out,
    model: Model = DEFAULT_MODEL,
    weights: Weights = None,
    pictures: Annotated[
        list[Path] | None,
        typer.Option(help="Pictures, or folders of them, to see what the network makes of places; may be repeated."),
    ] = None,
    layer: Annotated[
        int | None, typer.Option(help="Block that is read on --pictures, counted from 0; by default the last.")
    ] = None,
    before: Annotated[
        str | None,
        typer.Option(help="Network to compare with; by default the one a run began with.", rich_help_panel=NETWORK),
    ] = None,
    from_grid: Annotated[
        str | None,
        typer.Option(
            help="ROWS,COLUMNS that the positions were interpolated from, or none; by default those of 224 pixels "
            "for larger pictures.",
            rich_help_panel=WORK,
        ),
    ] = None,
    interpolation: Annotated[
        str, typer.Option(help="How they were interpolated: bicubic or bilinear.", rich_help_panel=WORK)
    ] = "bicubic",
    permutations: Annotated[
        int | None,
        typer.Option(help="How often positions are permuted; by default 999.", rich_help_panel=WORK),
    ] = None,
    scale: Annotated[
        str, typer.Option(help="Colour scale of the tiles: shared, or each its own.", rich_help_panel=OUTPUT)
    ] = "shared",
    colours: Annotated[
        str | None, typer.Option(help="Colour map; by default what suits the values.", rich_help_panel=OUTPUT)
    ] = None,
    size: Size = None,
    device: Device = None,
    batch_size: BatchSize = 8,
    workers: Workers = 2,
    seed: Seed = 0,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Show how a network tells its patches apart: figures, arrays, and numbers with p-values and controls."""
    _do("positions", locals())


@app.command(rich_help_panel="What there is")
def models(
    pattern: Annotated[str, typer.Argument(help="Show only names with this in them (* stands for anything).")] = "",
    json: Json = False,
) -> None:
    """List the networks that `--model` takes by name."""
    _do("models", locals())


@app.command(rich_help_panel="What there is")
def methods(json: Json = False) -> None:
    """List the methods that `explain` knows."""
    _do("methods", locals())


@app.command(rich_help_panel="What there is")
def metrics(json: Json = False) -> None:
    """List the measures that `evaluate` takes."""
    _do("metrics", locals())


def _do(command: str, arguments: Mapping[str, Any]) -> None:
    """Call the function of the command's name and print what it gives, as text or as one JSON object."""
    module = import_module(f"regard.app.commands.{command}" if command not in LISTS else "regard.app.commands.lists")
    given = {name: value for name, value in arguments.items() if name != "json"}
    result = getattr(module, command)(**given)
    if not first_process():
        return
    if arguments["json"]:
        typer.echo(json_module.dumps(module.as_json(result), ensure_ascii=False, allow_nan=False))
    else:
        typer.echo(module.as_text(result))


LISTS = ("models", "methods", "metrics")


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    if version:
        from regard import __version__

        typer.echo(__version__)
        raise typer.Exit


def main(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code; errors become one line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words  # wherever it stands
    words = [word for word in words if word != "--debug"]
    try:
        with messages():
            return int(app(words, standalone_mode=False, prog_name="regard") or 0)
    except RegardError as error:
        if debug:
            raise
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted; nothing that was there has been changed", 130)
    except Exception as error:
        wrong_use = hasattr(error, "format_message")  # the parser's own: an unknown option, a value that does not fit
        if debug or not wrong_use:
            raise
        return _fail(error.format_message(), 2)  # type: ignore[attr-defined]


def _fail(message: str, code: int) -> int:
    stderr().print(f"regard: {' '.join(message.split())}", markup=False, style="red")
    return code


def run() -> None:
    """The console script."""
    sys.exit(main())
