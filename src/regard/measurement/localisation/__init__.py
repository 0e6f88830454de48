"""Whether a map lies on the thing: maps of words, and maps of pictures against masks or, in montages, without any."""

from regard.measurement.metric import Metric

ROWS = (
    Metric(
        name="energy",
        label="Energy inside",
        kind="localisation",
        target="regard.measurement.localisation.measures:share",
        description="share of a map's positive values that lies on the object; a map without knowledge has the "
        "object's area",
        unit="share",
        higher_is_better=True,
        range=(0, 1),
        needs=("masks",),
        source="Wang et al. 2020 (arXiv 1910.01279), section 4.3, the energy-based pointing game",
    ),
    Metric(
        name="average_precision",
        label="Average precision",
        kind="localisation",
        target="regard.measurement.localisation.measures:average_precision",
        description="how purely the object comes first where pixels are ranked by a map; a map without knowledge has "
        "the object's area",
        unit="share",
        higher_is_better=True,
        range=(0, 1),
        needs=("masks",),
        source="Buckley and Voorhees 2000, average precision, over pixels, of equal ones the whole group at once",
    ),
    Metric(
        name="pointing",
        label="Pointing",
        kind="localisation",
        target="regard.measurement.localisation.measures:pointing",
        description="the chance that a pixel with the map's largest value lies on the object; a dot in the centre "
        "often does",
        unit="share",
        higher_is_better=True,
        range=(0, 1),
        needs=("masks",),
        source="Zhang et al. 2018 (IJCV 126), section 4.1, without its margin",
    ),
    Metric(
        name="grid_pointing",
        label="Grid pointing",
        kind="localisation",
        target="regard.measurement.localisation.gridpg:grid_pointing",
        description="in a montage of four pictures of other classes, share of positive values in the cell of the "
        "class that is explained; chance is 0.25",
        unit="share",
        higher_is_better=True,
        range=(0, 1),
        needs=(),
        source="Böhle, Fritz and Schiele 2021 (arXiv 2104.00032), section 4.2",
        cost=1.0,
    ),
)
"""The rows of METRICS that are measured here."""
