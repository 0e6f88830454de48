"""Whether a map depends on what it is said to show: on the network's weights, and on the class."""

from regard.measurement.metric import Metric

ROWS = (
    Metric(
        name="emprt",
        label="Randomisation (eMPRT)",
        kind="sanity",
        target="regard.measurement.sanity.randomisation:emprt",
        description="how much more complex the map is when the network's weights are all drawn anew, of its complexity",
        unit="share",
        higher_is_better=True,
        range=(-1, None),
        needs=(),
        source="Hedström et al. 2024 (arXiv 2401.06465), entropy of a histogram of 100 bins",
        cost=1.0,
    ),
    Metric(
        name="class_sensitivity",
        label="Sensitivity to the class",
        kind="sanity",
        target="regard.measurement.sanity.classes:class_sensitivity",
        description="1 less the rank correlation with the map of another class, a random one; 0: not about the class",
        unit="1 - correlation",
        higher_is_better=True,
        range=(0, 2),
        needs=(),
        source="after Sixt et al. 2020 (arXiv 1912.09818), ranks in the place of structural similarity",
        cost=1.0,
    ),
)
"""The rows of METRICS; costs are those of one more map, by a method that takes one forward."""
