"""Which map of a captioner's words lies best on what they name, chosen on one half of drawn scenes, told of the other.

    python bench/words.py SCENES [--model scenes-captioner] [--pictures 240]

SCENES is a folder that `regard scenes` wrote and the captioner did not learn from. Every picture is captioned; of the
right nouns, each layer, head (and their mean; of the gradient that alone), row and method has its mean IoU on the first
half. The best of each method is then measured on the other half, beside a random map, the centre and another picture's
map, with intervals.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.data.images.decode import open_picture
from regard.data.regions import regions_of
from regard.explanation.words.alignment import read_words, word_spans
from regard.explanation.words.methods import grad_cross_attention
from regard.measurement.localisation.captions import words_of
from regard.measurement.localisation.measures import MEASURES, cover, iou
from regard.measurement.localisation.words import BASELINES, TrueWord, WordRow, measure
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.networks.captioners.load import load_caption_network
from regard.records import END, Caption
from regard.scenes import read_scenes

Choice = tuple[str, int, int | None, str]
"""Method, layer, head (None: the mean) and row."""


@dataclass(frozen=True)
class Said:
    """A noun that is right, with its map by each choice."""

    word: TrueWord
    maps: dict[Choice, NDArray[np.float32]]

    def by(self, choice: Choice) -> TrueWord:
        return replace(self.word, heatmap=replace(self.word.heatmap, values=self.maps[choice]))


def main() -> None:
    options = _options()
    captioner = load_caption_network(options.model)
    found = list(_nouns(captioner, options.scenes, options.pictures))
    names = sorted({each.word.picture for each in found})
    first = set(names[::2])
    choosing = [each for each in found if each.word.picture in first]
    telling = [each for each in found if each.word.picture not in first]
    print(f"{len(choosing)} right nouns of {len(first)} pictures to choose by, {len(telling)} of the others to tell\n")
    mean = {choice: _mean_iou(choosing, choice) for choice in found[0].maps}
    print(
        "| method | layer | head | row | IoU, chosen by | measure | map | over random | over centre | over shuffled |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    default = ("cross_attention", captioner.layers - 1, None, "predicting")
    best = [max((each for each in mean if each[0] == method), key=lambda each: mean[each]) for method in _methods(mean)]
    for choice in dict.fromkeys([*sorted(best, key=lambda each: -mean[each]), default]):
        _print(choice, mean[choice], measure([each.by(choice) for each in telling]).rows[0], choice == default)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--model", default="scenes-captioner")
    parser.add_argument("--pictures", type=int, default=240)
    return parser.parse_args()


def _methods(mean: dict[Choice, float]) -> list[str]:
    return sorted({choice[0] for choice in mean})


def _nouns(captioner: CaptionNetwork, folder: Path, count: int) -> Iterator[Said]:
    """The right nouns of the first so many pictures, one picture after the other."""
    regions = regions_of(folder, words=True)
    for name, _ in islice(read_scenes(folder), count):
        prepared = captioner.prepare(open_picture(folder / name))
        (decoding,) = captioner.generate([prepared], capture=Capture(captioner.layers - 1))
        pieces = captioner.pieces(decoding.tokens)
        spans = [span for span in word_spans(decoding, pieces) if span.text != END]
        words = read_words(decoding, pieces, prepared.grid, name)
        maps = _maps(captioner, prepared, decoding.tokens)
        caption = Caption(name, captioner.text(decoding.tokens), words)
        for place, word in words_of(caption, regions).items():
            if word.part == "noun" and word.right:
                span = spans[place]
                yield Said(word, {choice: rows[span.start : span.stop].mean(0) for choice, rows in maps.items()})


def _maps(
    captioner: CaptionNetwork, prepared: PreparedPicture, tokens: tuple[int, ...]
) -> dict[Choice, NDArray[np.float32]]:
    """Every choice's maps (tokens, rows, columns) of a caption."""
    (decoding,) = captioner.teacher_force([prepared], [tokens], capture=Capture(None, None))
    found: dict[Choice, NDArray[np.float32]] = {}
    for layer in range(captioner.layers):
        for row, attention in (("predicting", decoding.predicting), ("reading", decoding.reading)):
            heads = attention[layer].numpy()
            found["cross_attention", layer, None, row] = heads.mean(0)
            found |= {("cross_attention", layer, head, row): maps for head, maps in enumerate(heads)}
        by_gradient = grad_cross_attention(captioner, prepared, tokens, layer=layer)
        found["grad_cross_attention", layer, None, "predicting"] = by_gradient
    return found


def _mean_iou(said: list[Said], choice: Choice) -> float:
    return float(np.mean([iou(each.maps[choice], cover(each.word.heatmap.grid, each.word.region)) for each in said]))


def _print(choice: Choice, chosen: float, row: WordRow, default: bool) -> None:
    method, layer, head, which = choice
    about = f"{method}{' (default)' if default else ''} | {layer} | {'mean' if head is None else head} | {which}"
    for name in MEASURES:
        scores = " | ".join(str(row.scores[f"{name}{rest}"]) for rest in ("", *(f"_over_{base}" for base in BASELINES)))
        print(f"| {about} | {chosen:.3f} | {name} | {scores} |", flush=True)


if __name__ == "__main__":
    main()
