"""An audit as one of `pets-tiny` on 74 photographs might come out, for pages and tables to be tried on."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from regard.measurement.measure import labelled
from regard.records import (
    Audit,
    AuditedPicture,
    Choice,
    Explanation,
    Failure,
    Finding,
    Heatmap,
    PatchGrid,
    RemovalCurves,
    Score,
    Verdict,
)

N = 74
CLASSES = ("beagle", "birman", "pug", "sphynx")
SRG: Mapping[str, tuple[float, str]] = {
    "libra_fullgrad_plus": (0.577, "supported"),
    "grad_attention": (0.525, "supported"),
    "rollout": (0.390, "supported"),
    "attention": (0.239, "not decidable"),
    "gradcam": (0.188, "no better than a control"),
    "<b>& outside</b>": (0.08, "contradicted"),
}
"""By method, its SRG and the status of its verdict; the last is one from outside, whose name is a trap for pages."""
BLANK = "randomised rollout"
CONTROLS = {"edges": 0.194, "centre": 0.155, "random": 0.003, "constant": -0.002}


def score(value: float, half: float = 0.04, n: int = N, label: str = "") -> Score:
    """A score with an interval of this half width."""
    return Score(value, value - half, value + half, n, label=label)


def curves(method: str, srg: float, occluder: str = "tokens") -> RemovalCurves:
    """Eleven points from 0.9 down to 0.03 whose areas differ by about `srg`."""
    shares = np.linspace(0, 1, 11)
    middle = 0.9 * (1 - shares) + 0.03 * shares
    bulge = 6 / 4 * srg * shares * (1 - shares) * 2
    mif, lif = (tuple(score(float(each)) for each in np.clip(middle + sign * bulge, 0, 1)) for sign in (-1, 1))
    return RemovalCurves(method, mif, lif, occluder)


def verdict(method: str, srg: float, status: str) -> Verdict:
    """A verdict on the difference from edges."""
    value = srg - CONTROLS["edges"]
    half = 0.1 if status == "not decidable" else 0.04
    why = {
        "supported": "its SRG is above that of the best control, edges, in all that the interval holds",
        "contradicted": "its SRG is below that of the best control, edges",
        "no better than a control": "the interval lies within ± 0.05 of the best control, edges",
        "not decidable": "the interval holds 0; with 74 pictures a difference of 0.100 could be shown",
    }[status]
    about = {"layer": 11} if method == "attention" else {}
    question = "Is its map more faithful than one that does not look at this network?"
    return Verdict(question, method, about, "3f9a" * 16, "77c1" * 16, status, why, value, value - half, value + half, N)


def _findings() -> list[Finding]:
    found = [
        Finding("quality", "top1", "", score(0.838, 0.08, label="Accuracy")),
        Finding("quality", "ece", "", score(0.061, 0.03, label="Calibration error")),
        Finding("quality", "top1", "kind: cat", score(0.81, 0.15, 24, "Accuracy"), note="the worst slice"),
    ]
    edges = score(CONTROLS["edges"])
    for method, (srg, _) in SRG.items():
        found += [
            Finding("faithfulness", "srg", method, score(srg, label="SRG"), edges, "edges"),
            Finding("faithfulness", "srg", method, score(srg / 2, label="SRG"), edges, "edges", condition="blur"),
            Finding("faithfulness", "single_deletion", method, score(srg / 2), score(0.0), "random"),
            Finding("sanity", "emprt", method, score(srg / 3)),
            Finding("localisation", "energy", method, score(0.6), score(0.44), "area"),
        ]
    found += [
        Finding("faithfulness", "srg", name, score(value, label="SRG"))
        for name, value in {**CONTROLS, BLANK: 0.11}.items()
    ]
    found += [
        Finding("faithfulness", "occluder_reliability", "", score(value), condition=name)
        for name, value in {"tokens": 0.81, "blur": 0.44}.items()
    ]
    whole = score(0.838, 0.08)
    conditions = {"original": 0.838, "object": 0.80, "background": 0.05, "control": 0.79, "random": 0.71}
    found += [
        Finding("reliance", "accuracy", "", score(value, 0.08), whole, "as they are", condition=name)
        for name, value in conditions.items()
    ]
    found += [
        Finding("reliance", name, "", score(value, 0.02), condition="object")
        for name, value in {"evidence": 0.38, "contradiction": 0.02, "endpoint_null": 0.01}.items()
    ]
    found.append(Finding("reliance", "background_reliance", "", score(0.08, 0.06), note="over pasting alone"))
    found += [
        Finding("robustness", "robustness", "", score(0.838 - loss, 0.08), whole, "as they are", condition=name)
        for name, loss in {"blur, weak": 0.02, "blur, strong": 0.3, "noise, weak": 0.01}.items()
    ]
    found.append(Finding("artifacts", "share", "", score(0.019, 0.002), note="0.3 % of the pictures' tokens"))
    found.append(Finding("positions", "neighbours", "", score(0.61, 0.03), score(0.0, 0.02), "random positions"))
    return [replace(each, score=labelled(each.measure, each.score)) for each in found]


def example_audit(n: int = N) -> Audit:
    """The audit, with so many pictures in its table."""
    pictures = tuple(
        AuditedPicture(
            f"beagle_{place}.jpg",
            CLASSES[place % 4],
            CLASSES[place % 4 if place % 6 else 0],
            0.4 + 0.59 * (place % 7) / 7,
            {f"srg:{method}": srg + 0.1 * np.sin(place) for method, (srg, _) in SRG.items()},
            {"background": "pug"} if place % 9 == 1 else {},
        )
        for place in range(n)
    )
    grid = PatchGrid.whole(14, 14, picture=(200, 300))
    values = np.random.default_rng(0).random((len(SRG), 4, 14, 14), np.float32)
    return Audit(
        sentences=(
            "On these pictures the map of libra_fullgrad_plus can be believed: what it marks moves the answer.",
            "The network relies on the object: on another background it keeps 0.71 [0.63, 0.79] of 0.84.",
            "Nothing can be said of attention: 74 pictures are too few to tell it from an edge detector.",
        ),
        verdicts=(
            *(verdict(method, *values) for method, values in SRG.items()),
            verdict("edges", CONTROLS["edges"], "no better than a control"),
            verdict("random", CONTROLS["random"], "contradicted"),
        ),
        findings=tuple(_findings()),
        curves=tuple(
            curves(method, value)
            for method, value in {**{name: srg for name, (srg, _) in SRG.items()}, **CONTROLS, BLANK: 0.11}.items()
        ),
        pictures=pictures,
        best=(
            Choice("first", "libra_fullgrad_plus", score(0.59, 0.06, 37), score(0.563, 0.06, 37)),
            Choice("second", "libra_fullgrad_plus", score(0.563, 0.06, 37), score(0.59, 0.06, 37)),
        ),
        failures=(Failure("gradcam", 1, ("beagle_3.jpg",), "its map is not finite"),),
        skipped={"ceiling": "it is measured with --full alone"},
        settings={"methods": list(SRG), "seed": 0, "full": False},
        provenance={"network": "pets-tiny", "digest": "3f9a" * 16, "data": "77c1" * 16},
        classes=CLASSES,
        n=n,
        examples=tuple(
            Explanation(
                tuple(
                    Heatmap(each, grid, f"beagle_{place}.jpg", target=place % 4, predicted=place % 4)
                    for place, each in enumerate(maps)
                ),
                method,
                settings=verdict(method, *SRG[method]).settings,
                classes=CLASSES,
            )
            for method, maps in zip(list(SRG)[:-1], values, strict=False)
        ),
    )
