"""Inspections of other records: of a caption, word by word, and of maps that a method made."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from regard.records.captions import END, START, Caption, Step, Word, support_text
from regard.records.grid import Float, PatchGrid
from regard.records.inspection.inspection import Inspection
from regard.records.inspection.parts import InspectedCaption, InspectedMap, InspectedPicture, InspectedWord
from regard.records.maps import Explanation
from regard.records.quantised import Quantised

Truth = Mapping[int, tuple[NDArray[np.bool_], bool | None]]
"""Of words by their place: the region (height, width) of the picture that a word speaks of, and whether it is right."""
MASK = 96
"""Cells along the longer side of a true region, at most."""
NOTHING: Truth = {}


def inspection_of_caption(caption: Caption, picture: InspectedPicture | None, truth: Truth = NOTHING) -> Inspection:
    """All that the viewer shows of a caption."""
    words: list[InspectedWord] = []
    maps: list[Float] = []
    masks: dict[str, Quantised] = {}
    for place, word in enumerate(caption.words):
        if word.text in (START, END):
            continue
        region, right = truth.get(place, (None, None))
        name = f"truth {place}"
        masks |= {} if region is None else {name: _mask(region)}
        words.append(
            InspectedWord(
                word.text,
                word.part_of_speech,
                word.probability,
                _alternatives(word, caption.steps),
                _without(word),
                None if word.heatmap is None else len(maps),
                None if region is None else {"mask": name},
                None if right is None else not right,
                word.support,
                _checks(word),
            )
        )
        maps += [] if word.heatmap is None else [word.heatmap.values]
    grids = (word.heatmap.grid for word in caption.words if word.heatmap is not None)
    return Inspection(
        caption.name,
        caption.grid or next(grids, PatchGrid.whole(1, 1)),
        {"name": str(caption.provenance.get("network", "unknown")), "layers": 0, "heads": 0, "reads": "words"},
        {**({"words": Quantised.of(np.stack(maps))} if maps else {}), **masks},
        picture=picture,
        caption=InspectedCaption(caption.text, tuple(words), support_text(caption.settings) or None),
        absent={"cls": "a captioner has words, each with its map"},
        provenance={**caption.provenance, "settings": dict(caption.settings)},
    )


def inspection_of_map(explanation: Explanation, index: int, picture: InspectedPicture | None) -> Inspection:
    """What the viewer shows of one map of an explanation; the rest stands in `absent`."""
    heatmap = explanation[index]
    targets = np.atleast_1d([] if heatmap.target is None else heatmap.target).tolist()
    classes = [explanation.classes[each] if explanation.classes else str(each) for each in targets]
    target, against = (*classes, None, None)[:2]
    name, transform = ("signed_maps", "linear") if explanation.signed else ("maps", "sqrt")
    status, _, text = explanation.verdict.partition(": ")
    curve = {} if heatmap.curve is None else heatmap.curve.as_json()
    curve.pop("target", None)
    method = explanation.method
    entry = InspectedMap(
        method,
        method.replace("_", " "),
        name,
        0,
        dict(explanation.settings),
        target,
        against,
        explanation.signed,
        {"status": status, "text": text} if status else None,
        curve or None,
    )
    why = "this is an explanation by one method; `regard.Inspector` makes all of it"
    return Inspection(
        heatmap.name,
        heatmap.grid,
        {"name": str(explanation.provenance.get("network", "unknown")), "layers": 0, "heads": 0, "reads": "cls"},
        {name: Quantised.of(np.nan_to_num(heatmap.on_patches())[None], transform)},
        picture=picture,
        maps=(entry,),
        absent=dict.fromkeys(("cls", "patches", "keys", "lens", "answer", "cls_repaired"), why),
        provenance=explanation.provenance,
    )


def _alternatives(word: Word, steps: Sequence[Step]) -> tuple[tuple[str, float], ...]:
    """What else was likely where the word begins."""
    if word.steps is None or word.steps[0] >= len(steps):
        return ()
    step = steps[word.steps[0]]
    return tuple((piece.strip(), math.exp(value)) for piece, value in step.alternatives if piece != step.piece)


def _without(word: Word) -> float | None:
    """The word's probability without its picture, where that was measured: by itself, or as a check."""
    gain = (word.checks or {}).get("gain_over_none", math.nan)
    gain = gain if word.dependence is None else word.dependence.over_none
    if word.log_probability is None or gain is None or not math.isfinite(gain):
        return None
    return min(1.0, math.exp(word.log_probability - gain))


def _checks(word: Word) -> dict[str, float | None] | None:
    """The word's checks with four significant digits, as JSON has them."""
    if word.checks is None:
        return None
    return {
        name: None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
        for name, value in word.checks.items()
    }


def _mask(region: NDArray[np.bool_]) -> Quantised:
    """The region that a word speaks of, as the shares of cells of it, over the whole picture."""
    height, width = region.shape
    share = min(1.0, MASK / max(height, width))
    rows = max(1, round(height * share))
    columns = max(1, round(width * share))
    whole = PatchGrid.whole(rows, columns)
    return Quantised.of(whole.on_patches(region) * (rows * columns / (height * width)), "linear")
