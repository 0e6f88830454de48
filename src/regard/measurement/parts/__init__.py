"""Whether a map is right about parts, on drawn scenes whose parts are really left undrawn: no hole is left behind."""

from regard.measurement.metric import Metric

FUNNYBIRDS = "Hesse et al. 2023 (arXiv 2308.06248)"

ROWS = (
    Metric(
        name="preservation_check",
        label="Preservation check",
        kind="parts",
        target="regard.measurement.parts.scores:preservation_check",
        description="how often the answer stays when only the parts are drawn that the map calls important",
        unit="share",
        higher_is_better=True,
        range=(0, 1),
        needs=("scenes", "parts"),
        source=f"{FUNNYBIRDS}, PC",
        cost=1.0,
    ),
    Metric(
        name="deletion_check",
        label="Deletion check",
        kind="parts",
        target="regard.measurement.parts.scores:deletion_check",
        description="how often the answer changes when the parts are left undrawn that the map calls important",
        unit="share",
        higher_is_better=True,
        range=(0, 1),
        needs=("scenes", "parts"),
        source=f"{FUNNYBIRDS}, DC",
        cost=1.0,
    ),
    Metric(
        name="distractibility",
        label="Distractibility",
        kind="parts",
        target="regard.measurement.parts.scores:distractibility",
        description="how few of the parts and things without which the answer is as sure are called important",
        unit="share",
        higher_is_better=True,
        range=(0, 1),
        needs=("scenes", "parts"),
        source=f"{FUNNYBIRDS}, D",
        cost=12.0,
    ),
    Metric(
        name="background_independence",
        label="Background independence",
        kind="parts",
        target="regard.measurement.parts.scores:background_independence",
        description="share of the things beside the animal without which the answer is as sure; of the network, not "
        "of a map",
        unit="share",
        higher_is_better=True,
        range=(0, 1),
        needs=("scenes", "parts"),
        source=f"{FUNNYBIRDS}, BI",
        cost=2.0,
    ),
    Metric(
        name="part_deletion",
        label="Single deletion of parts",
        kind="parts",
        target="regard.measurement.parts.scores:part_deletion",
        description="whether the parts that the map gives more to are those without which the class's score falls "
        "more: 1 is the same order, 0.5 none",
        unit="correlation",
        higher_is_better=True,
        range=(0, 1),
        needs=("scenes", "parts"),
        source=f"{FUNNYBIRDS}, SD",
        cost=10.0,
    ),
)
"""The rows of METRICS that are measured here; costs are a map's on scenes of about ten parts and two things."""
