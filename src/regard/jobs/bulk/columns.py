"""What bulk work writes of each picture: the columns of its Parquet files, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from regard.errors import UsageError, unknown

ALWAYS: Mapping[str, str] = {"name": "string", "sha256": "string", "error": "string"}
"""The fields of every file: the picture's key, the hash of its bytes, and why it could not be read, else null."""
SIDE = 16
"""Rows and columns of `map16`."""
TOP = 5
MAP16 = f"uint8[{SIDE * SIDE}]"


@dataclass(frozen=True)
class Column:
    """What `--columns` may name: the `fields` of the files that it becomes, with their types as words.

    `usual` is whether it is written where nothing is named; `cost` is its bytes a picture, about, before compression.
    """

    name: str
    description: str
    fields: Mapping[str, str]
    cost: str
    usual: bool = False


_TRUTH = Column("truth", "the label that DATA has", {"truth": "string"}, "few")
_GRID = {"rows": "int32", "columns": "int32"}
_BOX = {
    **dict.fromkeys(("picture_height", "picture_width", "prefix", "patch_rows", "patch_columns"), "int32"),
    **dict.fromkeys(("box_left", "box_top", "box_right", "box_bottom"), "float64"),
}

COLUMNS: Mapping[str, Sequence[Column]] = {
    "predict": (
        Column("label", "the class with the highest probability", {"label": "string"}, "few", True),
        Column("confidence", "its probability", {"confidence": "float32"}, "4", True),
        Column(
            "top5",
            "the five likeliest classes, best first, and their probabilities",
            {"top5": "list string", "top5_probability": "list float32"},
            "30",
        ),
        Column("probs", "every class's probability, in the order of the metadata", {"probs": "list float32"}, "4 each"),
        Column("artifacts", "the share of patches with outlying norms", {"artifact_share": "float32"}, "4"),
        Column(
            "reliance",
            "the answer's probability on the object alone and on the background alone, where --masks has the object",
            {"object_alone": "float32", "background_alone": "float32"},
            "8",
        ),
        _TRUTH,
    ),
    "explain": (
        Column(
            "target",
            "the class that the map is of, and the predicted one",
            {
                "target": "int32",
                "target_name": "string",
                "against": "int32",
                "against_name": "string",
                "predicted": "int32",
                "predicted_name": "string",
            },
            "few",
            True,
        ),
        Column("map", "the whole map, row by row", {"map": "list float32", **_GRID}, "784 of 14 × 14", True),
        Column("box", "what the map covers, in pixels of the picture", _BOX, "44", True),
        Column(
            "map16",
            "the map's mean over 16 × 16 cells, in 256 steps from map16_low to map16_high",
            {"map16": MAP16, "map16_low": "float32", "map16_high": "float32"},
            "264",
        ),
        _TRUTH,
    ),
    "caption": (
        Column(
            "caption",
            "what the network writes, its log-probability, and whether it came to an end",
            {"caption": "string", "log_probability": "float64", "finished": "bool"},
            "60",
            True,
        ),
        Column(
            "words",
            "the words and their probabilities",
            {"words": "list string", "word_probability": "list float32"},
            "100",
            True,
        ),
        Column(
            "maps",
            "a map for each word, one after the other, row by row",
            {"word_maps": "list float32", **_GRID},
            "784 a word",
        ),
        _TRUTH,
    ),
}
"""By command, what there is to be written."""


def columns_of(command: str, names: str | Sequence[str] | None) -> tuple[Column, ...]:
    """The columns that `--columns` names, in the order of the table; the usual ones where it names none.

    Raises `UsageError` with the nearest names for one that the command has not.

    >>> [column.name for column in columns_of("predict", "top5,label")]
    ['label', 'top5']
    """
    table = COLUMNS[command]
    if names is None:
        return tuple(column for column in table if column.usual)
    listed = names.split(",") if isinstance(names, str) else list(names)
    chosen = [name.strip() for name in listed if name.strip()]
    for name in chosen:
        if name not in {column.name for column in table}:
            raise unknown(f"column of `regard {command}`", name, [column.name for column in table])
    if not chosen:
        raise UsageError(f"--columns names none; there are {', '.join(column.name for column in table)}")
    return tuple(column for column in table if column.name in chosen)


def fields_of(columns: Sequence[Column]) -> dict[str, str]:
    """The fields of a file with these columns, and their types."""
    return {**ALWAYS, **{name: kind for column in columns for name, kind in column.fields.items()}}
