"""Maps to look at: those of each method over the same few pictures of an audit."""

from functools import partial

import numpy as np

from regard.audit.pictures.chunk import Plan
from regard.audit.pictures.gathered import Gathered
from regard.audit.pictures.outside import MapBatch
from regard.data.images.decode import drawable
from regard.networks.predict import prepared
from regard.records import Explanation, Heatmap

EXAMPLES = 6
"""Pictures whose maps are shown."""


def examples(plan: Plan, gathered: Gathered) -> list[Explanation]:
    """The maps of each method over the same few pictures."""
    count = min(EXAMPLES, len(gathered))
    chosen = np.unique(np.linspace(0, len(gathered) - 1, count).round().astype(int))
    pictures = [plan.pictures.pictures[index] for index in gathered.indices[chosen].tolist()]
    (batch, pixels), *_ = prepared(plan.network, pictures, batch_size=count, workers=0)
    targets = tuple(map(int, gathered.predicted[chosen]))
    maps = MapBatch(pixels, targets, tuple(picture.name for picture in pictures), tuple(batch.sizes))
    shown = []
    for method in plan.methods:
        if method.control not in ("", method.name):
            continue
        values, _ = method.maps(maps)
        if any(each is None for each in values):
            continue
        heatmaps = []
        for place, each in enumerate(values):
            assert each is not None
            rows, columns = each.shape
            grid = plan.network.preparation.grid(batch.sizes[place], rows, columns, plan.network.anatomy.prefix)
            image = partial(drawable, pictures[place].opener)
            of = targets[place] if method.class_specific else None
            heatmaps.append(Heatmap(each, grid, pictures[place].name, of, None, targets[place], image))
        shown.append(
            Explanation(
                tuple(heatmaps), method.name, method.signed, dict(method.settings), {}, plan.network.classes or ()
            )
        )
    return shown
