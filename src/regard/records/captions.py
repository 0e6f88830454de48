"""What a folder of captions holds, read again: `captions.json`, and the maps of each picture's words."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from regard.records.grid import PatchGrid
from regard.records.manifest import read_manifest
from regard.records.maps import Caption, Heatmap, Word

KIND, FILE = "captions", "captions.json"


def read_captions(folder: Path | str) -> Iterator[Caption]:
    """The captions of a finished folder, one by one. Raises `DataError` when it is not whole or something else."""
    folder = Path(folder)
    provenance = read_manifest(folder, KIND)["provenance"]
    stored = json.loads((folder / FILE).read_text(encoding="utf-8", errors="surrogateescape"))
    return (_caption(entry, folder, provenance) for entry in stored)


def _caption(entry: Mapping[str, Any], folder: Path, provenance: Mapping[str, Any]) -> Caption:
    grid, name = PatchGrid.from_json(entry["grid"]), entry["name"]
    maps = np.load(folder / entry["maps"], allow_pickle=False)  # (words, rows, columns)
    words = tuple(
        Word(
            word["text"],
            1.0 if word["probability"] is None else word["probability"],  # <start> is given
            Heatmap(values, grid, name),
            word["part_of_speech"],
        )
        for word, values in zip(entry["words"], maps, strict=True)
    )
    return Caption(name, entry["text"], words, provenance)
