"""The scores of word maps as `regard caption --truth` prints them."""

from collections.abc import Iterator
from itertools import chain

from regard.measurement.localisation.captions import CaptionScores
from regard.measurement.localisation.measures import MEASURES
from regard.measurement.localisation.words import BASELINES, WordRow


def word_scores_text(measured: CaptionScores) -> str:
    """A line for each part of speech, right or wrong, and measure: the map's, and what it has more than baselines."""
    titles = ["map", *(f"over {base}" for base in BASELINES)]
    head = f"{'part':<10} {'':<7} {'words':>6}  {'measure':<9}" + "".join(f"{title:<26}" for title in titles)
    scores = measured.scores
    rest = f"{scores.left_out} words without a region and {measured.unknown} pictures without any left out"
    last = f"{scores.words} words of {scores.pictures} pictures; {rest}; intervals draw pictures"
    return "\n".join([head.rstrip(), *chain.from_iterable(map(_lines, scores.rows)), last])


def _lines(row: WordRow) -> Iterator[str]:
    which = {True: "right", False: "wrong", None: ""}[row.right]
    for name in MEASURES:
        scores = [row.scores[name], *(row.scores[f"{name}_over_{base}"] for base in BASELINES)]
        line = f"{row.part:<10} {which:<7} {row.words:>6}  {name:<9}" + "".join(f"{score!s:<26}" for score in scores)
        yield line.rstrip()
