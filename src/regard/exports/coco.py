"""Maps as regions in a COCO file: where the map of each word, or of each class, is high, in the picture's own pixels.

Read by pycocotools and whatever reads COCO, and by regard again (`--truth`, `--masks`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from string import punctuation
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.data.regions.coco import pack_runs
from regard.errors import UsageError
from regard.files import check_free, is_file, json_text, write_file
from regard.measurement.localisation.measures import otsu
from regard.records import Caption, Explanation, Heatmap
from regard.records.captions import END, START
from regard.results.caption_table import read_caption_table
from regard.results.captions import KIND as CAPTIONS
from regard.results.captions import read_captions
from regard.results.maps import read_table
from regard.results.parquet import kind_of
from regard.version import __version__

ABOUT = (
    "Regions of maps: the pixels whose patch is above `threshold`, which is Otsu's of that map and never below 0. "
    "Pixels that the network did not look at are in none. `map_share` is how much of the map's positive values lies "
    "there; `score` is a word's probability, and of a class's map `map_share`. Pictures are upright, as EXIF says."
)


@dataclass
class Rows:
    """The rows of a COCO file that come up while its annotations are written; ids count from 1."""

    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    categories: dict[tuple[str, str], int] = field(default_factory=dict)
    annotations: int = 0
    empty: int = 0

    def image(self, heatmap: Heatmap) -> dict[str, Any]:
        """The entry of a map's picture."""
        height, width = heatmap.grid.picture
        entry = {"id": len(self.images) + 1, "file_name": heatmap.name, "height": height, "width": width}
        return self.images.setdefault(heatmap.name, entry)

    def annotation(
        self, heatmap: Heatmap, category: tuple[str, str], score: float | None, **more: Any
    ) -> Iterator[dict[str, Any]]:
        """The region of a map, of a category and its supercategory; none where all of the map is alike."""
        image = self.image(heatmap)
        mask, threshold, share = region(heatmap)
        if not mask.any():
            self.empty += 1
            return
        self.annotations += 1
        down = np.flatnonzero(mask.any(axis=1))
        across = np.flatnonzero(mask.any(axis=0))
        box = [across[0], down[0], across[-1] - across[0] + 1, down[-1] - down[0] + 1]
        yield {
            "id": self.annotations,
            "image_id": image["id"],
            "category_id": self.categories.setdefault(category, len(self.categories) + 1),
            "segmentation": {"size": list(mask.shape), "counts": pack_runs(mask)},
            "area": int(mask.sum()),
            "bbox": [float(each) for each in box],
            "iscrowd": 0,
            "score": round(share if score is None else score, 6),
            "threshold": float(f"{threshold:.6g}"),
            "map_share": round(share, 6),
            **more,
        }


def region(heatmap: Heatmap) -> tuple[NDArray[np.bool_], float, float]:
    """(H, W) bool of the picture: where its patches are above Otsu's threshold (at least 0); the threshold, and how
    much of the map's positive values lies there. A patch counts by its pixels in the picture, as for IoU."""
    pixels = heatmap.grid.to_picture(heatmap.values, nearest=True)  # (H, W), NaN where the network did not look
    visible = np.isfinite(pixels)
    levels, counts = np.unique(pixels[visible], return_counts=True)
    threshold = max(0.0, otsu(levels.astype(np.float64), counts)) if len(levels) else np.inf
    mask = visible & (pixels > threshold)
    positive = np.where(visible, np.maximum(pixels, 0), 0).astype(np.float64)
    total = positive.sum()
    return mask, float(threshold), float(positive[mask].sum() / total) if total else 0.0


def of_captions(captions: Iterable[Caption], rows: Rows) -> Iterator[dict[str, Any]]:
    """An annotation for each word: its category is the word, in small letters, its supercategory its part of speech."""
    for caption in captions:
        for place, word in enumerate(caption.words):
            name = word.text.lower().strip(punctuation)
            if word.heatmap is None or word.text in (START, END) or not name:
                continue
            which = {} if caption.which is None else {"which": caption.which}
            rows.image(word.heatmap).setdefault("caption", caption.text)
            category = (name, word.part_of_speech or "word")
            yield from rows.annotation(word.heatmap, category, word.probability, word=word.text, place=place, **which)


def of_maps(explanation: Explanation, rows: Rows) -> Iterator[dict[str, Any]]:
    """An annotation for each map: its category is the class that it is of, or the method where it is of none."""
    names = dict(enumerate(explanation.classes))
    for heatmap in explanation:
        targets = () if heatmap.target is None else np.atleast_1d(heatmap.target).tolist()
        name = " against ".join(names.get(target, str(target)) for target in targets)
        category = (name, "class") if name else (explanation.method, "method")
        predicted = heatmap.predicted
        more = {} if predicted is None else {"predicted": names.get(predicted, str(predicted))}
        yield from rows.annotation(heatmap, category, None, method=explanation.method, **more)


def check_coco(coco: Path | str | None, out: Path | None, overwrite: bool) -> Path | None:
    """The file `coco` as a path. Raises before any work where it cannot be written, or no result is to make it from."""
    if coco is None:
        return None
    if Path(coco).suffix.lower() != ".json":
        raise UsageError(f"--coco {coco} is no name of a COCO file; give one that ends in .json")
    if out is None:
        raise UsageError("--coco is made from the maps that --out holds; give --out too")
    check_free(coco, overwrite)
    return Path(coco)


def write_coco(file: Path | str, result: Path | str) -> Rows:
    """Write the regions of a finished result of `regard caption` or `regard explain`, a folder or a table, as COCO.

    Annotations are written as they come. Raises `DataError` for what is no such result.
    """
    result = Path(result)
    rows = Rows()
    table = is_file(result)
    words = kind_of(result) == CAPTIONS
    annotations: Iterator[dict[str, Any]]
    if words:
        annotations = of_captions(read_caption_table(result) if table else read_captions(result), rows)
        about: Mapping[str, Any] = {"regions of": "words"}
    else:
        explanation = read_table(result) if table else Explanation.load(result)
        annotations = of_maps(explanation, rows)
        about = {"regions of": "maps", "method": explanation.method, "settings": dict(explanation.settings)}
    write_file(file, chain(_parts(annotations, about), _tables(rows)))
    return rows


def _parts(annotations: Iterable[Mapping[str, Any]], about: Mapping[str, Any]) -> Iterator[str]:
    info = {"description": ABOUT, "contributor": f"regard {__version__}", **about}
    yield f'{{\n"info": {json_text(info)},\n"licenses": [],\n"annotations": ['
    for place, annotation in enumerate(annotations):
        yield f"{',' if place else ''}\n{json_text(annotation)}"
    yield "\n]"


def _tables(rows: Rows) -> Iterator[str]:
    """What is known of pictures and categories when all annotations have passed by."""
    categories = [{"id": id, "name": name, "supercategory": part} for (name, part), id in rows.categories.items()]
    for name, lines in (("images", rows.images.values()), ("categories", categories)):
        yield f',\n"{name}": [\n'
        yield ",\n".join(map(json_text, lines))
        yield "\n]"
    yield "\n}\n"
