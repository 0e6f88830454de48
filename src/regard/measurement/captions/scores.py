"""How near captions are to those that people wrote: BLEU-1 to 4, ROUGE-L, CIDEr and exact match, with intervals.

The measures are pycocoevalcap's, which this package has as the extra `captions`; words are split here, without Java,
so that numbers of COCO's own evaluation, which splits a few words otherwise, may differ in the third digit. Intervals
draw pictures, or whole groups of them, again. ROUGE-L, CIDEr and exact match are means over pictures. BLEU is of all
captions together: what is drawn are each picture's counts of n-grams and lengths, from whose sums it is computed anew.
The document frequencies of CIDEr come from the references of all scored pictures and are not drawn again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from regard.measurement import METRICS
from regard.measurement.captions.captioned import LONGEST, Captioned, Floats, scorer
from regard.measurement.intervals import NOWHERE, jackknifed, mean, share, unskewed
from regard.measurement.measure import measure
from regard.records import Score
from regard.scenes import Scene


def caption_scores(
    captions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    groups: Mapping[str, str] | None = None,
    scenes: Mapping[str, Scene] | None = None,
    coco: bool = True,
    seed: int = 0,
    resamples: int = 2000,
) -> dict[str, Score]:
    """Every caption metric of METRICS by name, of one caption and one or more references for each picture.

    Captions, references, `groups` and `scenes` are by the pictures' names; without scenes nothing is said of what is
    true. Raises `UsageError` where pycocoevalcap is not installed; `coco=False` leaves out what is counted by it.
    """
    captioned = Captioned.of(captions, references, groups, scenes)
    needs = {"references"} | ({"pycocoevalcap"} if coco else set()) | (set() if scenes is None else {"scenes"})
    scores = measure("caption", captioned, needs, seed=seed, resamples=resamples)
    return {
        name: score
        for name, score in scores.items()
        if "scenes" not in METRICS[name].needs or np.isfinite(score.value)  # no word of a part of speech: no score
    }


def bleu_1(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """As `bleu_4`, of single words: the share of them that a reference has too, less where captions are too short."""
    return _bleu(captioned, 1, seed, resamples)


def bleu_2(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """As `bleu_4`, of words and pairs of them."""
    return _bleu(captioned, 2, seed, resamples)


def bleu_3(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """As `bleu_4`, of up to three words in a row."""
    return _bleu(captioned, 3, seed, resamples)


def bleu_4(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """BLEU of the whole corpus with up to four words in a row: 0 to 1. Papineni et al. 2002, section 2.3.

    The length compared with is that of each picture's closest reference, of equal ones the shorter, as COCO's
    evaluation does (Chen et al. 2015, arXiv 1504.00325, section 3.2).
    """
    return _bleu(captioned, 4, seed, resamples)


def _bleu(captioned: Captioned, order: int, seed: int, resamples: int) -> Score:
    estimate = jackknifed(captioned.counts, lambda totals: _bleu_of(totals, order), captioned.groups)
    if not captioned.counts[1 + order].any():
        runs = "word is" if order == 1 else f"{order} words in a row are"
        return Score(estimate.value, np.nan, np.nan, len(captioned), note=f"no interval: no {runs} a reference's too")
    return unskewed(estimate, len(captioned))


def _bleu_of(totals: Floats, order: int) -> Floats:
    """(2 + 2 · LONGEST, any) counts → (any,); the small numbers are pycocoevalcap's, by which 0 / 0 is not NaN."""
    length = totals[0]
    reference = totals[1]
    matched = totals[2 : 2 + order]
    guessed = totals[2 + LONGEST :][:order]
    precision = (matched + 1e-15) / (guessed + 1e-9)  # (order, any)
    ratio = (length + 1e-15) / (reference + 1e-9)
    brevity = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return np.asarray(np.exp(np.log(precision).mean(axis=0)) * brevity)


def rouge_l(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """The longest common subsequence with the references, as an F-measure with β = 1.2: 0 to 1.

    Lin 2004, eq. 2 to 4, with the best recall and the best precision among the references, as COCO's evaluation takes
    them (Chen et al. 2015, arXiv 1504.00325, section 3.3).
    """
    rouge = scorer("rouge.rouge", "Rouge")()
    pairs = zip(captioned.captions, captioned.references, strict=True)
    each = np.array([rouge.calc_score([caption], list(references)) for caption, references in pairs], np.float64)
    return replace(mean(each, captioned.groups), n=len(captioned))


def cider(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """CIDEr-D: how alike the n-grams are, rare ones counting more: 0 to 10. Vedantam et al. 2015 (arXiv 1411.5726).

    How rare an n-gram is follows from the references of these very pictures, so that numbers of different sets of
    pictures do not compare, and that of a single picture is not defined (NaN).
    """
    consensus = scorer("cider.cider_scorer", "CiderScorer")(n=LONGEST)
    if len(captioned) < 2:
        return replace(NOWHERE, n=len(captioned), note="it needs two pictures or more")
    for caption, references in zip(captioned.captions, captioned.references, strict=True):
        consensus += (caption, list(references))
    each = np.asarray(consensus.compute_score()[1], np.float64)
    return replace(mean(each, captioned.groups, most=10.0), n=len(captioned))


def exact(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """The share of captions that are, word for word, one of the references; Wilson's interval."""
    pairs = zip(captioned.captions, captioned.references, strict=True)
    return share(np.array([caption in references for caption, references in pairs], np.bool_), captioned.groups)
