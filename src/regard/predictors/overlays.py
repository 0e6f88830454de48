"""A few pictures with where a network looks laid over them, as arrays, for what shows a training from outside."""

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import Dataset
from regard.errors import NetworkError
from regard.explanation.pictures.explain import attention_maps
from regard.networks.network import Network
from regard.records import Explanation

COUNT = 4
"""How many pictures."""


def overlays(network: Network | None, pictures: Dataset) -> dict[str, NDArray[np.uint8]]:
    """(height, width, 3) by the picture's name; none for a network without attention."""
    if network is None:
        return {}
    step = max(1, len(pictures) // COUNT)
    maps = attention_maps(network, pictures, pictures.names[::step][:COUNT])
    explanation = Explanation(tuple(maps.values()), "attention")
    try:
        return {name: np.asarray(explanation.overlay(index).convert("RGB")) for index, name in enumerate(maps)}
    except NetworkError:
        return {}
