"""How well each check of words tells wrong words from right ones, on drawn scenes whose every word can be judged.

    python bench/word_checks.py [--model scenes-captioner] [--scenes 100] [--full 0] [--seed 7000000] [--out WORDS.csv]

Scenes are drawn anew, from seeds that no training had. *Natural* errors are the captioner's own: it describes each
scene, and every word is judged by the scene's facts. *Planted* ones are in true captions, one word of which is
exchanged: a noun, a colour, a count or a side, so that the sentence stays one that is said and the word is false; the
right words are those of the same kind in the true captions. Kinds stay apart. AUROC of each check by part of speech,
with a 95 % interval that draws scenes again: a scene and all that is said of it is one unit. Of the first `--full`
scenes patches are taken out, too: whether the maps of right and wrong words are faithful, beside a random order, the
centre and other words' maps. `--out` gets a row for each word.
"""

import argparse
import csv
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regard.explanation.words.alignment import spans
from regard.explanation.words.checks.run import checks_of, fitting_checks, missing_checks
from regard.explanation.words.finished import FinishedCaption
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.networks.captioners.load import load_caption_network
from regard.scenes import COLOURS, Scene, captions, judge, render, sample
from regard.scenes.lexicon import COUNTS, ITEM_NOUNS, SIDES, article

RESAMPLES = 2000
CONTENT = "all content words"
FAITHFUL = ("removal", "removal_over_random", "removal_over_centre", "removal_over_words")


@dataclass(frozen=True)
class WordRow:
    """A word: its `scene`, whether the error it stands for is natural or planted, its part, whether it is right."""

    scene: int
    errors: str
    part: str
    text: str
    right: bool
    checks: dict[str, float]


def main() -> None:
    options = _options()
    network = load_caption_network(options.model)
    rows: list[WordRow] = []
    for number in range(options.scenes):
        level = "full" if number < options.full else "quick"
        print(f"\r{number} of {options.scenes} scenes", end="", file=sys.stderr)
        rows += _rows(network, options.seed + number, options.seed + number + 1, fitting_checks(network, level), number)
    if options.out:
        _write(options.out, rows)
    print(f"{network.name}, {options.scenes} scenes; AUROC [95 %], scenes drawn again\n")
    for need, names in _by_need(missing_checks(network, "full")).items():
        print(f"{network.name} lacks {need}: no {', '.join(names)}\n")
    for errors in ("natural", "planted"):
        _print_table([row for row in rows if row.errors == errors], errors, fitting_checks(network, "quick"))
    if options.full:
        _print_faithfulness(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scenes-captioner")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--full", type=int, default=0)
    parser.add_argument("--seed", type=int, default=7_000_000)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _rows(network: CaptionNetwork, seed: int, other_seed: int, names: Sequence[str], number: int) -> Iterator[WordRow]:
    scene = sample(seed)
    image = Image.fromarray(render(scene).picture)
    picture = network.prepare(image)
    other = network.prepare(Image.fromarray(render(sample(other_seed)).picture))
    (decoding,) = network.generate([picture])
    caption = _caption(network, picture, other, image, decoding.tokens)
    for place, (part, right) in _judged(caption, scene).items():
        yield WordRow(number, "natural", part, caption.words[place].text, right, _values(caption, names)[place])
    known = [each for each in captions(scene, 5, seed) if not _is_unknown(network, each.text)]
    if not known:
        return
    true = known[0]
    quick = [name for name in names if name in fitting_checks(network, "quick")]
    read = _given(network, picture, other, image, true.text)
    for kind, place, word in _exchanges(network, true.text, scene):
        text = _with(true.text, place, word)
        wrong = _given(network, picture, other, image, text)
        yield WordRow(number, "planted", kind, word, False, _values(wrong, quick)[place])
    for place, kind in _kinds(true.text).items():
        yield WordRow(number, "planted", kind, read.words[place].text, True, _values(read, quick)[place])


def _caption(
    network: CaptionNetwork, picture: PreparedPicture, other: PreparedPicture, image: Image.Image, tokens: Sequence[int]
) -> FinishedCaption:
    pieces = network.pieces(tokens)
    words = tuple(span for span in spans(pieces) if not pieces.special[span.start])
    return FinishedCaption(network, picture, tuple(tokens), words, other, image)


def _given(
    network: CaptionNetwork, picture: PreparedPicture, other: PreparedPicture, image: Image.Image, text: str
) -> FinishedCaption:
    caption = _caption(network, picture, other, image, network.tokenize(text))
    if [span.text for span in caption.words] != text.split():
        raise SystemExit(f"{network.name} reads {text!r} in other words: {[span.text for span in caption.words]}")
    return caption


def _values(caption: FinishedCaption, names: Sequence[str]) -> list[dict[str, float]]:
    """The checks of each word, computed once."""
    if not caption.results.get("values"):
        columns = checks_of(caption, names)
        caption.results["values"] = [
            {name: float(columns[name][place]) for name in names} for place in range(len(caption.words))
        ]
    values: list[dict[str, float]] = caption.results["values"]
    return values


def _judged(caption: FinishedCaption, scene: Scene) -> dict[int, tuple[str, bool]]:
    """Part of speech and truth of the words that claim something, by their place."""
    words = judge(" ".join("_".join(span.text.split()) for span in caption.words), scene)
    return {place: (word.part, word.true) for place, word in enumerate(words) if word.true is not None}


def _kinds(text: str) -> dict[int, str]:
    """The words that can be exchanged, by their place: of a noun, colour, count or side."""
    words = text.split()
    kinds = {}
    for place, word in enumerate(words):
        tables = (("noun", ITEM_NOUNS), ("colour", COLOURS), ("count", COUNTS), ("side", SIDES))
        kind = next((name for name, table in tables if word in table), None)
        if kind is not None:
            kinds[place] = kind
    return kinds


def _is_unknown(network: CaptionNetwork, text: str) -> bool:
    """Whether a vocabulary cannot write a text: some words came into scenes after it."""
    return bool(network.pieces(network.tokenize(text)).unknown)


def _exchanges(network: CaptionNetwork, text: str, scene: Scene) -> Iterator[tuple[str, int, str]]:
    """(kind, place, word): one exchange of each kind that there is, after which that word is false of the scene."""
    chance = np.random.default_rng((scene.seed, 19))
    places: dict[str, list[int]] = {}
    for place, kind in _kinds(text).items():
        places.setdefault(kind, []).append(place)
    for kind, at in places.items():
        place = int(chance.choice(at))
        before = text.split()[place]
        words = [word for word in _candidates(kind, before) if not _is_unknown(network, word)]
        others = [word for word in words if _is_false(_with(text, place, word), place, scene)]
        if others:
            yield kind, place, others[int(chance.integers(len(others)))]


def _candidates(kind: str, before: str) -> list[str]:
    """Words that could stand there: as singular or plural, and behind the same article."""
    if kind == "noun":
        several = ITEM_NOUNS[before][1]
        words = [noun for noun, (_, plural) in ITEM_NOUNS.items() if plural == several]
    else:
        words = list({"colour": tuple(COLOURS), "count": tuple(COUNTS)[1:], "side": SIDES}[kind])
    return [word for word in words if word != before and article(word) == article(before)]


def _with(text: str, place: int, word: str) -> str:
    words = text.split()
    words[place] = word
    return " ".join(words)


def _is_false(text: str, place: int, scene: Scene) -> bool:
    return judge(text, scene)[place].true is False


def _by_need(missing: dict[str, str]) -> dict[str, list[str]]:
    needs: dict[str, list[str]] = {}
    for name, need in missing.items():
        needs.setdefault(need, []).append(name)
    return needs


# tables


def auroc(values: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64]) -> float:
    """The share of pairs of a right and a wrong word in which the right one has more, ties one half."""
    levels, inverse = np.unique(values, return_inverse=True)
    good = np.bincount(inverse, weights * right, len(levels))
    bad = np.bincount(inverse, weights * ~right, len(levels))
    pairs = good.sum() * bad.sum()
    below = np.cumsum(bad) - bad
    return float((good * (below + bad / 2)).sum() / pairs) if pairs else math.nan


def interval(values: NDArray[np.float64], right: NDArray[np.bool_], scenes: NDArray[np.int64]) -> tuple[float, float]:
    """95 %, by percentiles of drawing scenes again."""
    chance = np.random.default_rng(0)
    _, units = np.unique(scenes, return_inverse=True)
    count = int(units.max()) + 1
    draws = [
        auroc(values, right, np.bincount(chance.integers(count, size=count), minlength=count)[units].astype(float))
        for _ in range(RESAMPLES)
    ]
    low, high = np.nanpercentile(draws, (2.5, 97.5))
    return float(low), float(high)


def _print_table(rows: Sequence[WordRow], errors: str, names: Sequence[str]) -> None:
    parts = sorted({row.part for row in rows})
    columns = [CONTENT, *parts]
    chosen = {part: [row for row in rows if part in (CONTENT, row.part)] for part in columns}
    counts = {part: (sum(row.right for row in of), sum(not row.right for row in of)) for part, of in chosen.items()}
    columns = [part for part in columns if min(counts[part]) > 0]
    titles = [f"{part} ({counts[part][0]} right, {counts[part][1]} wrong)" for part in columns]
    print(f"| {errors} errors | {' | '.join(titles)} |\n|---|{'---|' * len(titles)}")
    for name in names:
        print(f"| `{name}` | {' | '.join(_cell(chosen[part], name) for part in columns)} |", flush=True)
    print()


def _cell(rows: Sequence[WordRow], name: str) -> str:
    rows = [row for row in rows if math.isfinite(row.checks.get(name, math.nan))]
    values = np.array([row.checks[name] for row in rows])
    right = np.array([row.right for row in rows])
    low, high = interval(values, right, np.array([row.scene for row in rows]))
    return f"{auroc(values, right, np.ones(len(rows))):.3f} [{low:.3f}, {high:.3f}]"


def _print_faithfulness(rows: Sequence[WordRow]) -> None:
    """The mean of words, its interval drawing scenes again."""
    whole = [row for row in rows if row.errors == "natural" and "removal" in row.checks]
    print(f"| words | n | {' | '.join(f'`{name}`' for name in FAITHFUL)} |\n|---|---|{'---|' * len(FAITHFUL)}")
    for part in (CONTENT, *sorted({row.part for row in whole})):
        for right in (True, False):
            of = [row for row in whole if part in (CONTENT, row.part) and row.right is right]
            if len({row.scene for row in of}) > 1:
                cells = " | ".join(_mean([(row.scene, row.checks[name]) for row in of]) for name in FAITHFUL)
                print(f"| {part}, {'right' if right else 'wrong'} | {len(of)} | {cells} |")


def _mean(values: Sequence[tuple[int, float]]) -> str:
    scenes, numbers = (np.array(each) for each in zip(*values, strict=True))
    _, units = np.unique(scenes, return_inverse=True)
    count = int(units.max()) + 1
    chance = np.random.default_rng(0)
    draws = []
    for _ in range(RESAMPLES):
        weights = np.bincount(chance.integers(count, size=count), minlength=count)[units]
        draws.append((weights * numbers).sum() / weights.sum())
    low, high = np.percentile(draws, (2.5, 97.5))
    return f"{numbers.mean():.3f} [{low:.3f}, {high:.3f}]"


def _write(file: Path, rows: Sequence[WordRow]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row.checks))
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["scene", "errors", "part", "text", "right", *names])
        for row in rows:
            values = [row.checks.get(name, "") for name in names]
            writer.writerow([row.scene, row.errors, row.part, row.text, int(row.right), *values])


if __name__ == "__main__":
    main()
