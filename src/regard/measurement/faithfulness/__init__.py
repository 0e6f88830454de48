"""Whether what a map calls important is what the network's answer needs: patches are removed, and it is asked again."""

from regard.measurement.metric import Metric

ROWS = (
    Metric(
        name="srg",
        label="Symmetric relevance gain",
        kind="faithfulness",
        target="regard.measurement.faithfulness.curves:removal_curves",
        description="area between the class's probability while the least important patches go first and while the "
        "most important do; 0 for a random map",
        unit="probability",
        higher_is_better=True,
        range=(-1, 1),
        needs=(),
        source="Blücher et al. 2024 (arXiv 2401.06654), tokens left out in ten equal steps",
        cost=9.0,
    ),
    Metric(
        name="insertion",
        label="Insertion",
        kind="faithfulness",
        target="regard.measurement.faithfulness.curves:removal_curves",
        description="area under the class's probability while the most important patches come first",
        unit="probability",
        higher_is_better=True,
        range=(0, 1),
        needs=(),
        source="Petsiuk et al. 2018 (arXiv 1806.07421), from no patch at all in the place of a blur",
        cost=4.5,
    ),
    Metric(
        name="deletion",
        label="Deletion",
        kind="faithfulness",
        target="regard.measurement.faithfulness.curves:removal_curves",
        description="area under the class's probability while the most important patches go first",
        unit="probability",
        higher_is_better=False,
        range=(0, 1),
        needs=(),
        source="Petsiuk et al. 2018 (arXiv 1806.07421), to no patch at all in the place of grey",
        cost=4.5,
    ),
    Metric(
        name="single_deletion",
        label="Single deletion",
        kind="faithfulness",
        target="regard.measurement.faithfulness.deletion:single_deletion",
        description="rank correlation of what the map gives to each of 4 × 4 cells with what the class loses there",
        unit="correlation",
        higher_is_better=True,
        range=(-1, 1),
        needs=(),
        source="Hesse et al. 2023 (arXiv 2308.06248), on a grid in the place of parts",
        cost=16.0,
    ),
    Metric(
        name="occluder_reliability",
        label="Reliability of the occluder",
        kind="faithfulness",
        target="regard.measurement.faithfulness.reliability:reliability",
        description="area under the class's probability while random patches go: how far an occluder leaves a network "
        "in what it knows",
        unit="probability",
        higher_is_better=True,
        range=(0, 1),
        needs=(),
        source="after the R-OMS of Blücher et al. 2024 (arXiv 2401.06654)",
        cost=18.0,
    ),
)
"""The rows of METRICS; costs are a map's, where tokens can be left out."""
