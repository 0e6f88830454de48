"""An audit of words as one of `scenes-captioner` on 300 scenes might come out, for pages to be tried on."""

import numpy as np
from PIL import Image

from regard.records import (
    AuditedWord,
    Caption,
    Failure,
    Finding,
    Heatmap,
    PatchGrid,
    Score,
    Verdict,
    Word,
    WordAudit,
    WordExample,
)
from regard.records.audits.words import CLAIMS

N = 300
PARTS = {
    ("nouns", "right", "map"): ("supported", 0.31),
    ("nouns", "right", "removal"): ("supported", 2.14),
    ("nouns", "wrong", "map"): ("supported", 0.22),
    ("nouns", "wrong", "removal"): ("not decidable", 0.18),
    ("adjectives", "right", "map"): ("supported", 0.24),
    ("adjectives", "right", "removal"): ("supported", 1.2),
    ("adjectives", "wrong", "map"): ("not decidable", 0.04),
    ("adjectives", "wrong", "removal"): ("no better than a control", 0.02),
    ("verbs", "right", "map"): ("contradicted", -0.07),
    ("verbs", "right", "removal"): ("no better than a control", 0.01),
    ("anywhere", "all", "map"): ("supported", 0.01),
    ("anywhere", "all", "removal"): ("supported", 0.03),
    ("words_before", "all", "gain"): ("supported", 0.02),
}
"""By claim, words and evidence: the status and the value of a verdict."""


def verdict(claim: str, words: str, by: str, method: str = "cross_attention") -> Verdict:
    """One verdict of the example; of a planted map that its claim is contradicted."""
    status, value = PARTS[claim, words, by] if method == "cross_attention" else ("contradicted", -0.1)
    settings = {"claim": claim, "words": words, "by": by, "layer": 2, "head": None, "row": "predicting"}
    why = f"the difference from the best control, <b>centre</b> & others, is {value:+.2f}"
    half = 0.09 if status == "not decidable" else 0.015
    about = (CLAIMS[claim], method, settings, "3f9a", "77c1", status, why)
    return Verdict(*about, value, value - half, value + half, N)


def example_caption() -> WordExample:
    """A caption of two words with a map each, the second wrong and of a region that is known."""
    grid = PatchGrid.whole(2, 3, picture=(40, 60))
    maps = (Heatmap(np.eye(2, 3, k, dtype=np.float32), grid, "1.png") for k in range(2))
    words = tuple(Word(text, 0.9, values) for text, values in zip(("a", "girl"), maps, strict=True))
    image = Image.new("RGB", (60, 40), (90, 120, 40))
    caption = Caption("1.png", "a girl", words, grid=grid, image=lambda size: image)
    return WordExample(caption, {1: np.arange(2400).reshape(40, 60) < 900}, (1,))


def example_word_audit() -> WordAudit:
    """Every status, every kind of evidence, right and wrong words, and texts that are traps for pages."""
    findings = []
    for claim, words, by in PARTS:
        value = PARTS[claim, words, by][1]
        measure = {"map": "map_share", "removal": "fall", "gain": "gain_over_another"}[by]
        against = {"map": "centre", "removal": "elsewhere", "gain": "content words"}[by]
        score, baseline = (Score(each, each - 0.02, each + 0.02, N, label=measure) for each in (value + 0.3, 0.3))
        findings.append(Finding(claim, measure, words, score, baseline, against))
    words = (
        AuditedWord(
            "1.png",
            1,
            "girl",
            "noun",
            "nouns",
            False,
            {"map_share": 0.5, "map_share:centre": 0.3, "log_probability": -1.2},
        ),
        AuditedWord(
            "<i>2</i>.png#1",
            0,
            "a & b",
            "other",
            "anywhere",
            None,
            {"map_share": 1 / 3, "gain_over_another": 0.01},
            "<i>2</i>.png",
        ),
    )
    provenance = {"network": "scenes-captioner", "model": "3f9a", "data": "77c1", "data_name": "scenes"}
    return WordAudit(
        ("Its nouns look at their object, right ones and wrong ones.", "Its verbs do not look at the acting part."),
        (*(verdict(*key) for key in PARTS), verdict("nouns", "right", "map", "random")),
        tuple(findings),
        words,
        failures=(Failure("region", 2, ("7.png", "<9>.png"), "its region is all of the picture"),),
        skipped={"verbs, wrong words": "there are 3 of them, and fewer than 20 decide nothing"},
        settings={"method": "cross_attention", "layer": 2, "head": None, "row": "predicting"},
        provenance=provenance,
        n=N,
        examples=(example_caption(),),
    )
