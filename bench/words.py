"""Which map of a captioner's words lies best on what they name, chosen on one half of drawn scenes, told of the other.

    python bench/words.py SCENES [--model scenes-captioner] [--pictures 240] [--by iou] [--sabotage 0]

SCENES is a folder that `regard scenes` wrote and the captioner did not learn from. Every picture is captioned; of the
right nouns, each layer, head (and their mean; of the gradient that alone), row and method has its mean IoU (or another
measure, `--by`) on the first half. The best of each method is then measured on the other half, beside a random map,
the centre and another picture's map, with intervals. With `--sabotage N` the best of all is also compared, on up to N
of these pictures, to what mistakes would make of it: the next token's map, a grid whose rows and columns change
places, and maps of four beams that are not put in the order of the beam that was chosen.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.data.images.decode import open_picture
from regard.data.regions import Regions, regions_of
from regard.explanation.words.alignment import read_words, word_spans
from regard.explanation.words.methods import fitting, grad_cross_attention
from regard.explanation.words.token_activation import tam
from regard.measurement.intervals import mean
from regard.measurement.localisation.captions import words_of
from regard.measurement.localisation.measures import MEASURES, cover
from regard.measurement.localisation.words import BASELINES, TrueWord, WordRow, measure
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.networks.captioners.decoding import Decoding
from regard.networks.captioners.load import load_caption_network
from regard.records import END, Caption
from regard.scenes import read_scenes

Choice = tuple[str, int, int | None, str]
"""Method, layer, head (None: the mean) and row."""


Maps = dict[Choice, NDArray[np.float32]]
BEAMS = 4


@dataclass(frozen=True)
class Said:
    """A noun that is right, with its map by each choice, and the map one token later."""

    word: TrueWord
    maps: Maps
    later: Maps

    def by(self, choice: Choice) -> TrueWord:
        return _with(self.word, self.maps[choice])


def main() -> None:
    options = _options()
    captioner = load_caption_network(options.model)
    found = list(_nouns(captioner, options.scenes, options.pictures))
    names = sorted({each.word.picture for each in found})
    first = set(names[::2])
    choosing = [each for each in found if each.word.picture in first]
    telling = [each for each in found if each.word.picture not in first]
    print(f"{len(choosing)} right nouns of {len(first)} pictures to choose by, {len(telling)} of the others to tell\n")
    values = {choice: _mean(choosing, choice, options.by) for choice in found[0].maps}
    print("| method | layer | head | row | chosen by | measure | map | over random | over centre | over shuffled |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    default = ("cross_attention", captioner.layers - 1, None, "predicting")
    best = [max((e for e in values if e[0] == method), key=lambda e: values[e]) for method in _methods(values)]
    for choice in dict.fromkeys([*sorted(best, key=lambda each: -values[each]), default]):
        _print(choice, values[choice], measure([each.by(choice) for each in telling]).rows[0], choice == default)

    if options.sabotage:
        chosen = max(values, key=lambda each: values[each])
        print(f"\nMistakes, against {chosen}: what the map has more than they, on the same nouns\n")
        print("| mistake | nouns | measure | map | over the mistake |\n|---|---|---|---|---|")
        few = sorted({each.word.picture for each in telling})[: options.sabotage]
        for name, pairs in _mistakes(captioner, options.scenes, [e for e in telling if e.word.picture in few], chosen):
            _print_pairs(name, pairs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--model", default="scenes-captioner")
    parser.add_argument("--pictures", type=int, default=240)
    parser.add_argument("--by", choices=list(MEASURES), default="iou")
    parser.add_argument("--sabotage", type=int, default=0)
    return parser.parse_args()


def _methods(mean: dict[Choice, float]) -> list[str]:
    return sorted({choice[0] for choice in mean})


def _nouns(captioner: CaptionNetwork, folder: Path, count: int) -> Iterator[Said]:
    """The right nouns of the first so many pictures, one picture after the other."""
    regions = regions_of(folder, words=True)
    for name, _ in islice(read_scenes(folder), count):
        prepared = captioner.prepare(open_picture(folder / name))
        (decoding,) = captioner.generate([prepared], capture=Capture(captioner.layers - 1))
        maps: Maps = {}
        for word, start, stop in _right_nouns(captioner, decoding, prepared, name, regions):
            maps = maps or _maps(captioner, prepared, decoding.tokens)
            here = {choice: rows[start:stop].mean(0) for choice, rows in maps.items()}
            yield Said(word, here, {choice: rows[start + 1 : stop + 1].mean(0) for choice, rows in maps.items()})


def _right_nouns(
    captioner: CaptionNetwork, decoding: Decoding, prepared: PreparedPicture, name: str, regions: Regions
) -> Iterator[tuple[TrueWord, int, int]]:
    """With the places of their tokens, of which there is one more behind."""
    pieces = captioner.pieces(decoding.tokens)
    spans = [span for span in word_spans(decoding, pieces) if span.text != END]
    caption = Caption(name, captioner.text(decoding.tokens), read_words(decoding, pieces, prepared.grid, name))
    for place, word in words_of(caption, regions).items():
        if word.part == "noun" and word.right and spans[place].stop < len(decoding.tokens):
            yield word, spans[place].start, spans[place].stop


def _maps(captioner: CaptionNetwork, prepared: PreparedPicture, tokens: tuple[int, ...]) -> Maps:
    """Every choice's maps (tokens, rows, columns) of a caption."""
    (decoding,) = captioner.teacher_force([prepared], [tokens], capture=Capture(None, None))
    found: Maps = {}
    methods = fitting(captioner)
    for layer in range(captioner.layers):
        for row, attention in (("predicting", decoding.predicting), ("reading", decoding.reading)):
            heads = attention[layer].numpy()
            found["cross_attention", layer, None, row] = heads.mean(0)
            found |= {("cross_attention", layer, head, row): maps for head, maps in enumerate(heads)}
        if "grad_cross_attention" in methods:
            by_gradient = grad_cross_attention(captioner, prepared, tokens, layer=layer)
            found["grad_cross_attention", layer, None, "predicting"] = by_gradient
    if "tam" in methods:
        found["tam", captioner.layers - 1, None, "predicting"] = tam(captioner, prepared, tokens)
    return found


def _with(word: TrueWord, values: NDArray[np.float32]) -> TrueWord:
    return replace(word, heatmap=replace(word.heatmap, values=values))


Pairs = list[tuple[TrueWord, TrueWord]]
"""Nouns with their own map, and with that of a mistake."""


def _mistakes(
    captioner: CaptionNetwork, folder: Path, said: Sequence[Said], choice: Choice
) -> Iterator[tuple[str, Pairs]]:
    yield "a token late", [(each.by(choice), _with(each.word, each.later[choice])) for each in said]
    if said[0].word.heatmap.grid.rows == said[0].word.heatmap.grid.columns:
        turned = [(each.by(choice), _with(each.word, np.ascontiguousarray(each.maps[choice].T))) for each in said]
        yield "rows for columns", turned
    if choice[0] == "cross_attention":
        regions = regions_of(folder, words=True)
        names = sorted({each.word.picture for each in said})
        pairs = [pair for name in names for pair in _unordered(captioner, folder / name, name, regions, choice)]
        yield f"{BEAMS} beams without their order", pairs


def _unordered(captioner: CaptionNetwork, file: Path, name: str, regions: Regions, choice: Choice) -> Iterator:
    """Of the nouns of a caption by beam search: the maps of what was said, and, step by step, those of the beam that
    was first then, whether it came to be chosen or not."""
    prepared = captioner.prepare(open_picture(file))
    _, layer, head, row = choice
    capture = Capture(layer, "mean" if head is None else head)
    (decoding,) = captioner.generate([prepared], beams=BEAMS, capture=capture)
    first = []
    beams: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    stop = decoding.tokens[-1]
    for step in range(len(decoding.tokens) + 1):
        grown = []
        for place, (score, tokens) in enumerate(beams):
            # the token behind the prefix does not matter: what is said in its place is read off its row
            (scored,) = captioner.teacher_force([prepared], [(*tokens, stop)], capture=capture, alternatives=BEAMS)
            if not place:
                first.append(scored.predicting[0, 0, step].numpy())
            values, indices = scored.alternative_log_probabilities[step], scored.alternatives[step]
            grown += [
                (score + float(value), (*tokens, int(token))) for value, token in zip(values, indices, strict=True)
            ]
        beams = sorted((each for each in grown if each[1][-1] != stop), reverse=True)[:BEAMS]  # the finished wait
    late = row == "reading"  # what reads a token is the row of the next step
    own = (decoding.predicting if row == "predicting" else decoding.reading)[0, 0].numpy()
    for word, start, end in _right_nouns(captioner, decoding, prepared, name, regions):
        yield _with(word, own[start:end].mean(0)), _with(word, np.mean(first[start + late : end + late], axis=0))


def _print_pairs(name: str, pairs: Pairs) -> None:
    pictures = np.array([own.picture for own, _ in pairs])
    for measure_name in ("pointing", "iou"):
        scores = np.array([[_score(word, measure_name) for word in pair] for pair in pairs])  # (words, 2)
        own, more = mean(scores[:, 0], pictures), mean(scores[:, 0] - scores[:, 1], pictures, least=-1.0)
        print(f"| {name} | {len(pairs)} | {measure_name} | {own} | {more} |", flush=True)


def _mean(said: Sequence[Said], choice: Choice, measure_name: str) -> float:
    return float(np.mean([_score(each.by(choice), measure_name) for each in said]))


def _score(word: TrueWord, measure_name: str) -> float:
    return MEASURES[measure_name](word.heatmap.values, cover(word.heatmap.grid, word.region))


def _print(choice: Choice, chosen: float, row: WordRow, default: bool) -> None:
    method, layer, head, which = choice
    about = f"{method}{' (default)' if default else ''} | {layer} | {'mean' if head is None else head} | {which}"
    for name in MEASURES:
        scores = " | ".join(str(row.scores[f"{name}{rest}"]) for rest in ("", *(f"_over_{base}" for base in BASELINES)))
        print(f"| {about} | {chosen:.3f} | {name} | {scores} |", flush=True)


if __name__ == "__main__":
    main()
