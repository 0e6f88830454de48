"""How far an occluder may be believed: whether the network still answers as before while random patches go."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from regard.errors import UsageError
from regard.measurement.chance import generator_of
from regard.measurement.faithfulness.curves import Floats, area, curves_of
from regard.measurement.faithfulness.occluders import TOKENS, occluding
from regard.networks.cells import cells
from regard.networks.network import Network


def reliability(
    network: Network,
    pixels: Tensor,
    targets: Sequence[int] | NDArray[Any] | Tensor,
    *,
    occluder: str = TOKENS,
    draws: int = 4,
    steps: int = 10,
    seed: int = 0,
    donors: Tensor | None = None,
) -> Floats:
    """(pictures,) float64, 0 to 1, higher: the occluder takes the network less out of what it knows.

    The mean, over `draws` random orders of a picture's patches, of the area under the probability of its class while
    they go: what is left of the answer for the whole picture when nothing was chosen. After the reference-out-of-
    model-scope score of Blücher et al. 2024 (arXiv 2401.06654). Orders are of the seed and the picture's own pixels,
    the same for each occluder. Costs about draws · steps / 2 forwards a picture where tokens can be left out, else
    twice as many.
    """
    if draws < 1 or steps < 1:
        raise UsageError(f"draws is {draws} and steps {steps}; give numbers from 1 on")
    rows, columns = cells(network, pixels)
    orders = np.empty((draws, len(pixels), rows * columns), np.int64)
    for place, picture in enumerate(pixels):
        generator = generator_of(picture, seed, "orders")
        for order in orders[:, place]:
            order[:] = generator.permutation(rows * columns)
    with occluding(network, pixels, occluder, donors) as occluded:
        return np.asarray(area(curves_of(network, occluded, orders, targets, steps)).mean(axis=0), np.float64)
