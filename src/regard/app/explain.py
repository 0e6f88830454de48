"""`regard explain`: a map for each picture, as a panel, on a contact sheet and in an array."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from PIL import Image

from regard.app.common import open_network, provenance, skipper
from regard.app.console import progress
from regard.data.dataset import Dataset
from regard.data.folder import read_pictures
from regard.data.opening import open_picture
from regard.errors import DataError, UsageError
from regard.explanation import METHODS
from regard.explanation.explain import heatmaps
from regard.files import check_free, new_folder, write_file
from regard.networks.network import Network
from regard.records import Explanation, Heatmap
from regard.rendering.figure import caption_of, contact_sheet, panel, png

SHEET = 48  # pictures on the contact sheet, at most


@dataclass(frozen=True)
class Result:
    """The maps, and the folder they were written to, if they were."""

    explanation: Explanation
    out: Path | None = None


def explain(
    pictures: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    method: str = "attention",
    layer: int | None = None,
    head: int | None = None,
    query: str = "CLS",
    model: str | Path | torch.nn.Module = "pets-tiny",
    weights: str | Path | None = None,
    colours: str = "jet",
    size: int | None = None,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int = 8,
    workers: int = 2,
    seed: int = 0,
    skip_bad: bool = False,
    overwrite: bool = False,
) -> Result:
    """Where a network looks in each picture, by a method of METHODS.

    Writes into `out`, where one is given, a panel for each picture under its own name (picture, map, map over the
    grey picture), `contact_sheet.png` of the first 48, and the result folder's `maps.npy` and `manifest.json`.
    `query` is "CLS" or "ROW,COLUMN" of a patch; `layer` and `head` count from 0, by default the last layer and the
    mean over heads. `model` may be a module.
    """
    if out is not None:
        check_free(out, overwrite)
    settings = {
        name: value for name, value in _settings(layer, head, query).items() if name in METHODS[method].settings
    }
    dataset = read_pictures(pictures if isinstance(pictures, str | Path) else list(pictures))
    network = open_network(model, weights, size=size, device=device, precision=precision, seed=seed)
    run = heatmaps(network, dataset, method, settings, batch_size=batch_size, workers=workers, on_bad=skipper(skip_bad))
    maps = []
    with progress(f"explaining by {method}", len(dataset)) as advance:
        for heatmap in run:
            maps.append(heatmap)
            advance(1)
    if not maps:
        raise DataError("none of the pictures could be read")
    explanation = _explanation(maps, method, settings, network)
    if out is None:
        return Result(explanation)
    _write(explanation, dataset, Path(out), colours, overwrite)
    return Result(explanation, Path(out))


def _settings(layer: int | None, head: int | None, query: str) -> dict[str, Any]:
    return {"layer": layer, "head": head, "query": parse_query(query)}


def parse_query(text: str) -> tuple[int, int] | None:
    """ "CLS" → None, "3,7" → (3, 7): the patch in row 3 and column 7, counted from 0."""
    if text.strip().lower() == "cls":
        return None
    try:
        row, column = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--query is {text!r}; it must be CLS or ROW,COLUMN of a patch, such as 3,7") from None
    return row, column


def _explanation(maps: list[Heatmap], method: str, settings: dict[str, Any], network: Network) -> Explanation:
    said = {
        "layer": "last" if settings.get("layer") is None else settings["layer"],
        "head": "mean" if settings.get("head") is None else settings["head"],
        "query": "CLS" if settings.get("query") is None else list(settings["query"]),
    }
    known = {name: value for name, value in said.items() if name in settings}
    return Explanation(tuple(maps), method, METHODS[method].signed, known, provenance(network))


def _write(explanation: Explanation, dataset: Dataset, out: Path, colours: str, overwrite: bool) -> None:
    paths = {picture.name: picture.path for picture in dataset.pictures}
    files = panel_names([heatmap.name for heatmap in explanation])
    first: list[tuple[Image.Image, Heatmap, str]] = []
    with new_folder(out, overwrite) as folder, progress("drawing", len(explanation)) as advance:
        for index, heatmap in enumerate(explanation):
            image = open_picture(paths[heatmap.name])
            drawn = panel(
                image, heatmap, colours=colours, caption=caption_of(explanation, index), signed=explanation.signed
            )
            write_file(folder / files[heatmap.name], png(drawn))
            if index < SHEET:
                image.thumbnail((320, 320), Image.Resampling.LANCZOS)
                first.append((image, heatmap, heatmap.name))
            advance(1)
        write_file(folder / "contact_sheet.png", png(contact_sheet(first, colours=colours)))
        explanation.write(folder)


def panel_names(names: Sequence[str]) -> dict[str, str]:
    """Each picture's panel, under its own name and folders with `.png`; the whole name is kept where two would meet."""
    plain = {name: str(PurePosixPath(name).with_suffix(".png")) for name in names}
    taken = {"contact_sheet.png", *(target for target, count in Counter(plain.values()).items() if count > 1)}
    return {name: f"{name}.png" if target in taken else target for name, target in plain.items()}


def as_json(result: Result) -> dict[str, Any]:
    explanation = result.explanation
    return {
        "out": str(result.out),
        "n": len(explanation),
        "method": explanation.method,
        "settings": dict(explanation.settings),
        "rows": explanation.maps.shape[1],
        "columns": explanation.maps.shape[2],
        "pictures": [heatmap.name for heatmap in explanation],
    }


def as_text(result: Result) -> str:
    count = len(result.explanation)
    return (
        f"{count} picture{'s' if count != 1 else ''} explained by {result.explanation.method}, written to {result.out}"
    )
