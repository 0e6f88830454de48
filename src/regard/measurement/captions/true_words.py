"""How much of what is said of drawn scenes is true: word by word, by the facts, whatever the references say."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError
from regard.measurement.intervals import bootstrapped, percentile
from regard.records import Score
from regard.scenes import Scene, judge

ALL = "true_words"
PARTS = ("noun", "adjective", "verb", "relation", "count")


def true_words(said: Mapping[str, str], scenes: Mapping[str, Scene], seed: int = 0) -> dict[str, Score]:
    """The share of content words that are true, as `true_words`, and of each part of speech, as `true_noun` and so on.

    By the pictures' names. Words that claim nothing (a, the, and) do not count; one that is not known is false.
    Percentile bootstrap over pictures, Wilson's where resamples do not differ; a part of speech that nobody said is
    left out. Raises `DataError` for a picture whose scene is not known.
    """
    strange = [name for name in said if name not in scenes]
    if strange:
        raise DataError(f"no scene is known of {strange[0]!r}; give the folder that `regard scenes` wrote")
    counts: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for name, text in said.items():
        words = [word for word in judge(text, scenes[name]) if word.true is not None]
        for part in (None, *PARTS):
            own = [bool(word.true) for word in words if part in (None, word.part)]
            counts[ALL if part is None else f"true_{part}"].append((sum(own), len(own)))
    return {name: _share(rows, seed) for name, rows in counts.items() if any(total for _, total in rows)}


def _share(rows: list[tuple[int, int]], seed: int) -> Score:
    """Ratio of sums: a caption of many words counts more than one of few. `n` counts the pictures."""
    sums = np.array(rows, np.float64).T
    known = sums[0].sum() / sums[1].sum()  # what a resample without any such word is taken to have

    def ratio(totals: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.divide(totals[0], totals[1], out=np.full_like(totals[0], known), where=totals[1] > 0)

    value, values = bootstrapped(sums, ratio, seed=seed)
    return percentile(value, values, len(rows), len(rows))
