"""The options that several commands share, each written once, and one for every setting of the recipes.

An annotation carries the type that Python callers see and how the command line reads it; a parameter without an
`option` or `argument` in its annotation is of Python alone.
"""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import Field, dataclass
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any

import typer

from regard.errors import UsageError
from regard.explanation import METHODS, method_named
from regard.exports import EXPORTS
from regard.measurement import METRICS
from regard.networks.sources.shipped import CAPTIONERS, SHIPPED
from regard.networks.tasks import CAPTIONING
from regard.training.tasks.table import all_settings, recipes

DATA = "The data"
NETWORK = "The network"
METHOD = "Settings of the method"
WORK = "How it works"
WORDS = "What is said"
MAPS = "Maps of the words"
OUTPUT = "What comes out"
BULK = "Bulk work"

Complete = Callable[[str], Iterable[str]]


@dataclass(frozen=True)
class Reading:
    """How the command line reads a parameter: typer's `info`, and the `type` it parses where that is not Python's.

    With `required` it must be given there, though Python callers may leave it out.
    """

    info: Any
    type: Any = None
    required: bool = False


def option(
    text: str,
    *names: str,
    panel: str | None = None,
    type: Any = None,
    complete: Complete | None = None,
    required: bool = False,
    **more: Any,
) -> Reading:
    """An option with its help `text`; `names` where they are not made of the parameter's, `more` as typer has it."""
    info = typer.Option(*names, help=text, rich_help_panel=panel, autocompletion=complete, **more)
    return Reading(info, type, required)


def argument(text: str, *, type: Any = None, complete: Complete | None = None, **more: Any) -> Reading:
    """An argument without a name of its own."""
    return Reading(typer.Argument(help=text, autocompletion=complete, **more), type)


def complete_methods(start: str) -> Iterable[str]:
    return (row.name for row in METHODS if row.name.startswith(start))


def complete_picture_methods(start: str) -> Iterable[str]:
    return (name for name in PICTURE_METHODS if name.startswith(start))


def complete_word_methods(start: str) -> Iterable[str]:
    return (name for name in WORD_METHODS if name.startswith(start))


def complete_metrics(start: str) -> Iterable[str]:
    return (row.name for row in METRICS if row.name.startswith(start))


def complete_exports(start: str) -> Iterable[str]:
    return (row.name for row in EXPORTS if row.name.startswith(start))


def complete_recipes(start: str) -> Iterable[str]:
    return (name for name in recipes() if name.startswith(start))


def complete_models(start: str) -> list[str]:
    """Shipped names and runs; only where none begins so, the libraries' thousand names, which take time."""
    near = [name for name in (*SHIPPED, *CAPTIONERS, *map(str, _runs())) if name.startswith(start)]
    if near or not start:
        return near
    from regard.networks.load import available

    return [name for name, _ in available(start) if name.startswith(start)]


def complete_captioners(start: str) -> Iterable[str]:
    """The shipped captioner, and runs that learnt captions."""
    runs = (str(run) for run in _runs() if CAPTIONING in (run / "model.json").read_text(errors="replace"))
    return (name for name in (*CAPTIONERS, *runs) if name.startswith(start))


def _runs() -> Iterable[Path]:
    """The run folders here and one folder down."""
    found = (path for pattern in ("*/model.json", "*/*/model.json") for path in Path().glob(pattern))
    return (path.parent for path in found if path.is_file())


def export_kind(value: str) -> str:
    return EXPORTS[value].name


def picture_method(value: str) -> str:
    """Check a method's name at the door, before anything heavy is imported."""
    return method_named(value, "picture").name


def word_method(value: str) -> str:
    return method_named(value, "word").name


PICTURE_METHODS = tuple(row.name for row in METHODS if row.kind == "picture")
WORD_METHODS = tuple(row.name for row in METHODS if row.kind == "word")


def names_from_input(pictures: list[str]) -> list[str]:
    """Where a name is `-`, the names that standard input has: a line each, or ended by NUL as `find -print0` does."""
    names = []
    for each in pictures:
        if each != "-":
            names.append(each)
            continue
        content = sys.stdin.buffer.read()
        lines = content.split(b"\0") if b"\0" in content else content.splitlines()
        names += [os.fsdecode(line) for line in lines if line.strip()]
    if not names:
        raise UsageError(
            "'-' reads names of pictures from standard input, a line each, and there was none; pipe some in"
        )
    return names


Data = Annotated[
    str | Path, argument("Folder, table, shards or address of pictures with labels (see docs/data.md).", type=str)
]
Pictures = Annotated[
    str | Path | Sequence[str | Path],
    argument(
        "Pictures, folders of them, a .csv that lists them, or - for names from standard input.",
        type=list[str],
        callback=names_from_input,
    ),
]
_MODEL = option(
    "A run's folder, a checkpoint file, or a network's name.",
    "--model",
    "-m",
    panel=NETWORK,
    type=str,
    complete=complete_models,
)
Model = Annotated[str | Path, _MODEL]
AnyModel = Annotated[Any, _MODEL]
MaybeModel = Annotated[
    Any,
    option(
        "A run's folder, a checkpoint file, or a network's name; pets-tiny, of captions scenes-captioner.",
        "--model",
        "-m",
        panel=NETWORK,
        type=str | None,
        complete=complete_models,
    ),
]
Weights = Annotated[
    str | Path | None, option("A checkpoint to load into the named network.", panel=NETWORK, type=Path | None)
]
WeightsPart = Annotated[
    str | None, option("Which of the networks in --weights: teacher, student, ema, ...", panel=NETWORK)
]
Size = Annotated[int | None, option("Side of the input in pixels; positions are interpolated.", panel=NETWORK, min=1)]
Grid = Annotated[
    str | tuple[int, int] | None,
    option(
        "ROWS,COLUMNS of the patches of a network that regard does not know, so that its attention is found.",
        panel=NETWORK,
        type=str | None,
    ),
]
Device = Annotated[str | None, option("cpu, cuda, cuda:1, mps; by default the best there is.", panel=NETWORK)]
Precision = Annotated[str, option("float32, bfloat16, or auto: the faster on this machine.", panel=NETWORK)]
BatchSize = Annotated[int, option("Pictures at a time.", panel=WORK, min=1)]
Workers = Annotated[int, option("Threads that read pictures, and as many that draw panels.", panel=WORK, min=0)]
Tta = Annotated[
    str | None,
    option("Mean over 2, 5 or 10 views of each picture, at that cost: flip, five-crop, ten-crop.", panel=WORK),
]
Seed = Annotated[int, option("Decides splits and everything random.", panel=WORK)]
SkipBad = Annotated[bool, option("Name unreadable pictures and go on without them.", "--skip-bad", panel=WORK)]
MaxPixels = Annotated[
    int, option("The largest picture that is decoded, width × height; takes memory.", panel=WORK, min=1)
]
Label = Annotated[str, option("Column of the table that holds the label.", panel=DATA)]
ImageColumn = Annotated[str | None, option("Column, or ending of a tar's members, that is the picture.", panel=DATA)]
Split = Annotated[str | None, option("train, val, test, a split of your own, or all.", panel=DATA)]
KeepSeen = Annotated[bool, option("Pictures of the training too, and say so.", "--keep-seen", panel=DATA)]
Group = Annotated[
    str | None,
    option("Column whose equal values (a patient, an animal, a site) stay on one side of every split.", panel=DATA),
]
Slices = Annotated[
    Sequence[str] | None,
    option(
        "Column whose values are scored one by one, or class+COLUMN, crossed; may be repeated.",
        "--slice",
        panel=DATA,
        type=list[str] | None,
    ),
]
Masks = Annotated[
    str | Path | None,
    option("Folder of masks under the pictures' names, of scenes, or a COCO .json.", panel=DATA, type=Path | None),
]
Out = Annotated[str | Path, option("Where the result goes.", "--out", "-o", panel=OUTPUT, type=Path)]
OutOrMemory = Annotated[
    str | Path | None,
    option("Where the result goes.", "--out", "-o", panel=OUTPUT, type=str, required=True),
]
Jobs = Annotated[
    str | None,
    option("Bulk work into Parquet files, gone on with: local, or ray on a cluster (docs/bulk.md).", panel=BULK),
]
Columns = Annotated[
    str | Sequence[str] | None,
    option("What bulk work writes, with commas, such as label,top5 (docs/bulk.md).", panel=BULK, type=str | None),
]
DryRun = Annotated[
    bool, option("Only say how much bulk work there is: units, gigabytes, requests, hours.", "--dry-run", panel=BULK)
]
Unit = Annotated[int | None, option("Pictures a unit where DATA has no shards; 1000.", panel=BULK, min=1)]
Threads = Annotated[
    int | None, option("Threads of the network in bulk work; fixed when a job begins.", panel=BULK, min=1)
]
MaybeOut = Annotated[
    str | Path | None,
    option("Where the result goes; without it, the screen.", "--out", "-o", panel=OUTPUT, type=Path | None),
]
Overwrite = Annotated[bool, option("Replace a result of regard that is there.", "--overwrite", panel=OUTPUT)]
NoPictures = Annotated[bool, option("Leave every picture out of the page.", "--no-pictures", panel=OUTPUT)]
Anonymise = Annotated[bool, option("Replace the pictures' names in the page.", "--anonymise", panel=OUTPUT)]
Page = Annotated[
    str | Path | None,
    option("One HTML file to look at the pictures in, which opens anywhere.", "--page", panel=OUTPUT, type=Path | None),
]
Coco = Annotated[
    str | Path | None,
    option("Also the maps' regions, as a COCO .json.", "--coco", panel=OUTPUT, type=Path | None),
]
Methods = Annotated[
    str | Sequence[str] | None,
    option("Methods on the page, with commas; by default five of different kinds.", panel=OUTPUT, type=str | None),
]
Beside = Annotated[
    Sequence[str | Path] | None,
    option("Another network on the page; may be repeated.", panel=OUTPUT, type=list[str] | None),
]
MapColours = Annotated[
    str | None,
    option("Colour map: inferno (coolwarm for maps with a sign), viridis, cividis, jet ...", "--colours", panel=OUTPUT),
]
Format = Annotated[str | None, option("panels or parquet; parquet where --out ends in .parquet.", panel=OUTPUT)]
Figure = Annotated[str | None, option("What panels are: jpg, png, svg or pdf.", panel=OUTPUT)]
Sheet = Annotated[
    str | None,
    option(
        "Also show methods, layers or heads (or METHOD,METHOD ...) of the first pictures side by side.", panel=OUTPUT
    ),
]
Curve = Annotated[
    bool,
    option(
        "Also what becomes of the class while a map's patches go: eleven points and their SRG.", "--curve", panel=METHOD
    ),
]
Layer = Annotated[int | None, option("Block, counted from 0; by default the last.", panel=METHOD, min=0)]
Head = Annotated[int | None, option("Head, counted from 0; by default the mean over heads.", panel=METHOD, min=0)]
Query = Annotated[str, option("The token that looks: CLS, or a patch as ROW,COLUMN.", panel=METHOD)]
Start = Annotated[int | None, option("The first block that counts; by default 0.", panel=METHOD, min=0)]
Target = Annotated[
    str | int | None,
    option("Class to explain, by name or index; by default the predicted one.", panel=METHOD, type=str | None),
]
Against = Annotated[
    str | int | None,
    option("Class that the target is held against: why this and not that.", panel=METHOD, type=str | None),
]
Steps = Annotated[int | None, option("Steps of an integral; by default the method's.", panel=METHOD, min=1)]
Samples = Annotated[int | None, option("Samples to draw; by default the method's.", panel=METHOD, min=1)]
CaptionModel = Annotated[
    Any,
    option(
        "scenes-captioner, a run that learnt captions, catr-v3, a CATR checkpoint, hf:ID or a Hugging"
        " Face folder (see docs/captions.md).",
        "--model",
        "-m",
        panel=NETWORK,
        type=str,
        complete=complete_captioners,
    ),
]
CaptionsFile = Annotated[
    str | Path | None,
    option(
        "Captions to give word by word instead of making them: a COCO-style .json, or a .csv with filename,caption.",
        panel=WORDS,
        type=Path | None,
    ),
]
Which = Annotated[
    str | int, option("Which of several given captions of a picture, counted from 0, or all.", panel=WORDS, type=str)
]
Prompt = Annotated[str | None, option("What captions begin with, or answer; not for CATR.", panel=WORDS)]
Beams = Annotated[int, option("Captions followed at once; 1 is greedy.", panel=WORDS, min=1)]
Limit = Annotated[int | None, option("Tokens of a caption at most; by default the network's.", panel=WORDS, min=1)]
WordMethod = Annotated[
    str,
    option(f"One of: {', '.join(WORD_METHODS)}.", callback=word_method, complete=complete_word_methods, panel=MAPS),
]
Row = Annotated[str, option("predicting or reading: the step whose map a word gets.", panel=MAPS)]
DecoderLayer = Annotated[
    int | None, option("Decoder layer, counted from 0; by default the last.", "--layer", panel=MAPS, min=0)
]
DecoderHead = Annotated[int | None, option("Head, counted from 0; by default the mean.", "--head", panel=MAPS, min=0)]
DecoderStart = Annotated[
    int | None,
    option("The first decoder layer that counts, for a method that goes through them.", "--start", panel=MAPS, min=0),
]
Depends = Annotated[
    bool,
    option(
        "Also say each caption of the next picture and of none: what words and maps owe to theirs.",
        "--depends",
        panel=MAPS,
    ),
]
Check = Annotated[
    str | None,
    option(
        "Also check how far the picture supports each word, by three passes; `--check full` takes patches out, too.",
        "--check",
        panel=MAPS,
    ),
]
Support = Annotated[Path | None, option("A support.json fitted to this network: checks as a probability.", panel=MAPS)]
Truth = Annotated[
    str | Path | None,
    option(
        "Data that know where each word's object is (a folder of regard scenes, or a COCO .json with "
        "masks): panels outline it, and maps are measured against it.",
        panel=MAPS,
        type=Path | None,
    ),
]
Style = Annotated[str, option("regard, or source for the panels of CATR's own figures.", panel=OUTPUT)]


def setting_options(taken: Iterable[str]) -> list[Parameter]:
    """An option for each setting of the recipes that a command does not take by itself: there is no second list."""
    return [_setting(each) for name, each in all_settings().items() if name not in taken]


def _setting(each: "Field[Any]") -> Parameter:
    text = each.metadata["help"].replace("[", "\\[")  # brackets are markup in help
    reading = option(text, panel="Settings of the recipe (by default as it says)")
    annotation = Annotated[each.type | None, reading]  # type: ignore[name-defined]
    return Parameter(each.name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
