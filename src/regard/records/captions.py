"""What a folder of captions holds, read again: `captions.json`, and the maps of each picture's words."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from regard.errors import DataError
from regard.records.grid import Float, PatchGrid
from regard.records.manifest import read_manifest
from regard.records.maps import Caption, Heatmap, Word

KIND, FILE = "captions", "captions.json"


def read_captions(folder: Path | str) -> Iterator[Caption]:
    """The captions of a finished folder, read one by one. Raises `DataError` when it is not whole or something else."""
    folder = Path(folder)
    provenance = read_manifest(folder, KIND)["provenance"]
    return (_caption(entry, folder, provenance) for entry in _entries(folder / FILE))


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    """What is said of each picture: the file is a list with a line for each, so that none of it need be held."""
    with file.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            text = line.strip().removesuffix(",")
            if text in ("[", "]"):
                continue
            try:
                entry = json.loads(text)
                if not isinstance(entry, dict):
                    raise ValueError(f"a {type(entry).__name__} where a picture should be")
            except ValueError as error:
                raise DataError(
                    f"{file} is not as regard wrote it, a line for each picture ({error}); caption them again"
                ) from error
            yield entry


def _caption(entry: Mapping[str, Any], folder: Path, provenance: Mapping[str, Any]) -> Caption:
    grid, name = PatchGrid.from_json(entry["grid"]), entry["name"]
    maps = np.load(folder / entry["maps"], allow_pickle=False)  # (words, rows, columns)
    words = (word_of(word, values, grid, name) for word, values in zip(entry["words"], maps, strict=True))
    return Caption(name, entry["text"], tuple(words), provenance)


def word_of(stored: Mapping[str, Any], values: Float, grid: PatchGrid, name: str) -> Word:
    """A word as it was stored, by its `text`, `probability` and `part_of_speech`, with its map (rows, columns)."""
    probability = 1.0 if stored["probability"] is None else stored["probability"]  # <start> is given
    return Word(stored["text"], probability, Heatmap(values, grid, name), stored["part_of_speech"])


def line_of(entry: Mapping[str, Any]) -> str:
    """What is said of a picture as a line of `captions.json`."""
    return json.dumps(entry, ensure_ascii=False, allow_nan=False)
