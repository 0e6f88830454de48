"""Spots of extreme attention: are they a fault? And places: does a network know which are near? Two old claims."""

from regard.measurement.metric import Metric


def _position(name: str, label: str, description: str) -> Metric:
    return Metric(
        name=name,
        label=label,
        kind="positions",
        target="regard.explanation.positions.analysis:measure",
        description=description,
        unit="cosine",
        higher_is_better=True,
        range=(-2, 2),
        needs=(),
        source="Dosovitskiy et al. 2021 (arXiv 2010.11929), figure 7; interval: Snijders and Borgatti 1999",
    )


ROWS = (
    Metric(
        name="artifact_share",
        label="Artifact tokens",
        kind="artifacts",
        target="regard.measurement.artifacts.spots:spots",
        description="share of patches whose norm behind the last block is over five times their picture's median",
        unit="share",
        higher_is_better=False,
        range=(0, 1),
        needs=(),
        source="Darcet et al. 2024 (arXiv 2309.16588), with a threshold by picture",
        cost=1.0,
    ),
    Metric(
        name="artifact_attention",
        label="Attention to artifact tokens",
        kind="artifacts",
        target="regard.measurement.artifacts.spots:spots",
        description="share of the last block's attention to patches that artifact tokens draw",
        unit="share",
        higher_is_better=False,
        range=(0, 1),
        needs=(),
        source="Darcet et al. 2024 (arXiv 2309.16588)",
    ),
    Metric(
        name="artifacts_on_background",
        label="Artifact tokens on the background",
        kind="artifacts",
        target="regard.measurement.artifacts.spots:spots",
        description="share of a picture's artifact tokens that lies off the object",
        unit="share",
        higher_is_better=False,
        range=(0, 1),
        needs=("masks",),
        source="Darcet et al. 2024 (arXiv 2309.16588): they lie where there is little to see",
    ),
    Metric(
        name="attention_on_object",
        label="Attention on the object",
        kind="artifacts",
        target="regard.measurement.artifacts.spots:spots",
        description="share of the last block's attention to patches that lies on the object",
        unit="share",
        higher_is_better=True,
        range=(0, 1),
        needs=("masks",),
        source="Wang et al. 2020 (arXiv 1910.01279), section 4.2, of attention",
    ),
    Metric(
        name="artifacts_where_wrong",
        label="Artifact tokens where it is wrong",
        kind="artifacts",
        target="regard.measurement.artifacts.spots:where_wrong",
        description="share of artifact tokens in pictures that are misclassified, less that in the others",
        unit="share",
        higher_is_better=False,
        range=(-1, 1),
        needs=("labels",),
        source="interval: jackknife over pictures, Hall 1992",
    ),
    _position(
        "neighbour_gain",
        "Neighbours are more alike",
        "cosine of the embeddings of neighbouring patches, less that of all pairs",
    ),
    _position(
        "row_gain",
        "A row is more alike",
        "cosine of embeddings in one row, less that of pairs at the same distance which share neither row nor column",
    ),
    _position(
        "column_gain",
        "A column is more alike",
        "cosine of embeddings in one column, less that of pairs at the same distance which share neither",
    ),
)
"""The rows of METRICS."""
