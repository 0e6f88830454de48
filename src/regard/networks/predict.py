"""A network over many pictures, in batches, with memory that does not grow with their number."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from regard.data.dataset import Picture
from regard.data.images.preparation import Batch, Preparation, batches
from regard.data.images.views import FiveCrops
from regard.errors import DataError
from regard.networks.guard import lock_of
from regard.networks.network import Network


def prepared(
    network: Network,
    pictures: Sequence[Picture],
    *,
    batch_size: int = 32,
    workers: int = 2,
    on_bad: Callable[[Picture, DataError], None] | None = None,
) -> Iterator[tuple[Batch, Tensor]]:
    """Batches of pictures and, on the network's device, what goes into it: (batch, 3, height, width), normalised."""
    for batch in batches(pictures, network.preparation, batch_size, workers, on_bad):
        yield batch, network.preparation.normalise(batch.pixels.to(network.device, non_blocking=True))


def probabilities(
    network: Network,
    pictures: Sequence[Picture],
    *,
    batch_size: int = 32,
    workers: int = 2,
    on_bad: Callable[[Picture, DataError], None] | None = None,
    tta: str | None = None,
) -> Iterator[tuple[list[int], Tensor]]:
    """Indices into `pictures` and class probabilities (batch, classes), float32 on the CPU, batch by batch in order.

    With `tta`, a name of VIEWS, they are the mean over views. Raises `DataError` naming a picture that cannot be read,
    unless `on_bad` takes it.
    """
    for batch in batches(pictures, viewed(network.preparation, tta), batch_size, workers, on_bad):
        yield batch.indices, pixel_probabilities(network, batch.pixels, tta)


def viewed(preparation: Preparation, tta: str | None) -> Preparation:
    """What pictures are read with for these views. Raises `UsageError` where it leaves nothing to crop."""
    return FiveCrops.of(preparation) if tta in ("five-crop", "ten-crop") else preparation


def pixel_probabilities(network: Network, pixels: Tensor, tta: str | None = None) -> Tensor:
    """Pixels as `viewed` reads them, (batch, height, width, 3) or (batch, 5, height, width, 3) in 0..255 → class
    probabilities (batch, classes), the mean over views.

    Of probabilities and not of logits: a mean of these is a probability again, of several labels too, and no view can
    outvote all others by being sure.
    """
    views = list(pixels.unbind(1)) if pixels.ndim == 5 else [pixels]
    if tta in ("flip", "ten-crop"):
        views += [each.flip(2) for each in views]  # left and right
    inputs = (network.preparation.normalise(each.to(network.device, non_blocking=True)) for each in views)
    values = [batch_probabilities(network, each) for each in inputs]  # (batch, classes) each
    return values[0] if len(values) == 1 else torch.stack(values).mean(dim=0)


def batch_probabilities(network: Network, pixels: Tensor) -> Tensor:
    """Normalised pictures (batch, 3, height, width) → class probabilities (batch, classes), float32 on the CPU."""
    with lock_of(network.module):
        return network.probabilities(network.logits(pixels).float()).cpu()
