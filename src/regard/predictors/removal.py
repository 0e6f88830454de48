"""The removal curves of maps, as `explain --curve` stores them."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from torch import Tensor

from regard.errors import NetworkError
from regard.measurement.faithfulness.curves import removal_curves
from regard.measurement.faithfulness.occluders import occluders_of
from regard.networks.guard import lock_of
from regard.networks.network import Network
from regard.records import Heatmap, RemovalCurve


def check_curves(network: Network) -> None:
    """Raise `NetworkError` for a network without classes, whose probability could be followed."""
    if not network.has_classes:
        raise NetworkError(
            f"{network.name} has no head, so no class whose probability --curve could follow; leave it out"
        )


def with_curves(network: Network, pixels: Tensor, heatmaps: Iterable[Heatmap], seed: int) -> list[Heatmap]:
    """The maps of pictures `pixels` (batch, 3, height, width), each with its removal curves in ten steps.

    Of a class's map the probability of that class is followed, of one class against another that of the first, of any
    other map that of the predicted class. Patches are left out as tokens or, where a network cannot do without, painted
    in the mean colour. A map that is finer than the patches is summed to them. Computed in float32.
    """
    maps = list(heatmaps)
    precise = replace(network, precision="float32")
    with lock_of(network.module):
        predicted = precise.logits(pixels).argmax(dim=1).tolist()
        classes = [
            int(np.atleast_1d(best if each.target is None else each.target)[0])
            for each, best in zip(maps, predicted, strict=True)
        ]
        occluder = occluders_of(precise)[0]
        values = np.stack([each.on_patches() for each in maps])[None]  # (1, batch, rows, columns)
        curves = removal_curves(precise, pixels, values, classes, occluder=occluder, seed=seed)
    rows = zip(maps, classes, curves.mif[0].tolist(), curves.lif[0].tolist(), strict=True)
    return [
        replace(heatmap, curve=RemovalCurve(target, occluder, tuple(mif), tuple(lif)))
        for heatmap, target, mif, lif in rows
    ]
