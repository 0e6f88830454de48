"""The options that several commands share, each written once, and one for every setting of the recipes."""

import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from regard.training.recipe import CaptionSettings

NETWORK, METHOD, WORK, OUTPUT = "The network", "Settings of the method", "How it works", "What comes out"

Data = Annotated[Path, typer.Argument(help="Folder, .csv or .json of pictures with labels (see docs/data.md).")]
Pictures = Annotated[list[Path], typer.Argument(help="Pictures, folders of them, or a .csv that lists them.")]
Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="A run's folder, a checkpoint file, or a network's name.", rich_help_panel=NETWORK
    ),
]
MaybeModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A run's folder, a checkpoint file, or a network's name; pets-tiny, of captions scenes-captioner.",
        rich_help_panel=NETWORK,
    ),
]
Weights = Annotated[
    Path | None, typer.Option(help="A checkpoint to load into the named network.", rich_help_panel=NETWORK)
]
Size = Annotated[
    int | None,
    typer.Option(help="Side of the input in pixels; positions are interpolated.", rich_help_panel=NETWORK),
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default the best there is.", rich_help_panel=NETWORK)
]
Precision = Annotated[str, typer.Option(help="float32 or bfloat16.", rich_help_panel=NETWORK)]
BatchSize = Annotated[int, typer.Option(min=1, help="Pictures at a time.", rich_help_panel=WORK)]
Workers = Annotated[int, typer.Option(min=0, help="Threads that read pictures.", rich_help_panel=WORK)]
Seed = Annotated[int, typer.Option(help="Decides splits and everything random.", rich_help_panel=WORK)]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Name unreadable pictures and go on without them.", rich_help_panel=WORK)
]
Label = Annotated[str, typer.Option(help="Column of the CSV that holds the label.", rich_help_panel="The data")]
Split = Annotated[
    str | None, typer.Option(help="train, val, test, a split of your own, or all.", rich_help_panel="The data")
]
Group = Annotated[
    str | None,
    typer.Option(
        help="Column whose equal values (a patient, an animal, a site) stay on one side of every split.",
        rich_help_panel="The data",
    ),
]
Slices = Annotated[
    list[str] | None,
    typer.Option(
        "--slice", help="Column whose values are scored one by one; may be repeated.", rich_help_panel="The data"
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where the result goes.", rich_help_panel=OUTPUT)]
MaybeOut = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Where the result goes; without it, the screen.", rich_help_panel=OUTPUT),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace a result of regard that is there.", rich_help_panel=OUTPUT)
]
NoPictures = Annotated[
    bool, typer.Option("--no-pictures", help="Leave every picture out of the page.", rich_help_panel=OUTPUT)
]
Anonymise = Annotated[
    bool, typer.Option("--anonymise", help="Replace the pictures' names in the page.", rich_help_panel=OUTPUT)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.", rich_help_panel=OUTPUT)]
Colours = Annotated[str, typer.Option(help="Colour map: jet, viridis, inferno, cividis ...", rich_help_panel=OUTPUT)]
MapColours = Annotated[
    str | None,
    typer.Option(
        "--colours",
        help="Colour map: inferno (coolwarm for maps with a sign), viridis, cividis, jet ...",
        rich_help_panel=OUTPUT,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(help="panels or parquet; parquet where --out ends in .parquet.", rich_help_panel=OUTPUT),
]
Figure = Annotated[str | None, typer.Option(help="What panels are: png, svg or pdf.", rich_help_panel=OUTPUT)]
Sheet = Annotated[
    str | None,
    typer.Option(
        help="Also show methods, layers or heads (or METHOD,METHOD ...) of the first pictures side by side.",
        rich_help_panel=OUTPUT,
    ),
]
Layer = Annotated[
    int | None, typer.Option(min=0, help="Block, counted from 0; by default the last.", rich_help_panel=METHOD)
]
Head = Annotated[
    int | None,
    typer.Option(min=0, help="Head, counted from 0; by default the mean over heads.", rich_help_panel=METHOD),
]
Query = Annotated[
    str, typer.Option(help="The token that looks: CLS, or a patch as ROW,COLUMN.", rich_help_panel=METHOD)
]
Start = Annotated[
    int | None, typer.Option(min=0, help="The first block that counts; by default 0.", rich_help_panel=METHOD)
]
Target = Annotated[
    str | None,
    typer.Option(help="Class to explain, by name or index; by default the predicted one.", rich_help_panel=METHOD),
]
Against = Annotated[
    str | None,
    typer.Option(help="Class that the target is held against: why this and not that.", rich_help_panel=METHOD),
]
Steps = Annotated[
    int | None, typer.Option(min=1, help="Steps of an integral; by default the method's.", rich_help_panel=METHOD)
]
Samples = Annotated[
    int | None, typer.Option(min=1, help="Samples to draw; by default the method's.", rich_help_panel=METHOD)
]
Captioner = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="scenes-captioner, a run that learnt captions, catr-v3, a CATR checkpoint, hf:ID or a Hugging Face folder "
        "(see docs/captions.md).",
        rich_help_panel=NETWORK,
    ),
]
Captions = Annotated[
    Path | None,
    typer.Option(
        help="Captions to give word by word instead of making them: a COCO-style .json, or a .csv with "
        "filename,caption.",
        rich_help_panel="What is said",
    ),
]
Which = Annotated[
    str,
    typer.Option(
        help="Which of several given captions of a picture, counted from 0, or all.", rich_help_panel="What is said"
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option(help="What captions begin with, or answer; not for CATR.", rich_help_panel="What is said"),
]
Beams = Annotated[
    int, typer.Option(min=1, help="Captions followed at once; 1 is greedy.", rich_help_panel="What is said")
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, help="Tokens of a caption at most; by default the network's.", rich_help_panel="What is said"),
]
Row = Annotated[
    str,
    typer.Option(help="predicting or reading: the step whose map a word gets.", rich_help_panel="Maps of the words"),
]
DecoderLayer = Annotated[
    int | None,
    typer.Option(
        "--layer",
        min=0,
        help="Decoder layer, counted from 0; by default the last.",
        rich_help_panel="Maps of the words",
    ),
]
DecoderHead = Annotated[
    int | None,
    typer.Option(
        "--head", min=0, help="Head, counted from 0; by default the mean.", rich_help_panel="Maps of the words"
    ),
]
DecoderStart = Annotated[
    int | None,
    typer.Option(
        "--start",
        min=0,
        help="The first decoder layer that counts, for a method that goes through them.",
        rich_help_panel="Maps of the words",
    ),
]
Depends = Annotated[
    bool,
    typer.Option(
        "--depends",
        help="Also say each caption of the next picture and of none: what words and maps owe to theirs.",
        rich_help_panel="Maps of the words",
    ),
]
Truth = Annotated[
    Path | None,
    typer.Option(
        help="Data that know where each word's object is (a folder of regard scenes, or a COCO .json with masks): "
        "panels outline it, and maps are measured against it.",
        rich_help_panel="Maps of the words",
    ),
]
Style = Annotated[
    str,
    typer.Option(help="regard, or source for the panels of CATR's own figures.", rich_help_panel=OUTPUT),
]


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each setting of the recipes to a command that takes `**settings`: there is no second list."""
    signature = inspect.signature(command)
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    taken = {each.name for each in own}
    more = [_setting(each) for each in fields(CaptionSettings) if each.name not in taken]
    command.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
    return command


def _setting(each: "Field[Any]") -> inspect.Parameter:
    help_text = each.metadata["help"].replace("[", "\\[")  # brackets are markup in help
    panel = "Settings of the recipe (by default as it says)"
    annotation = Annotated[each.type | None, typer.Option(help=help_text, rich_help_panel=panel)]  # type: ignore[name-defined]
    return inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
