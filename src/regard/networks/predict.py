"""A network over many pictures, in batches, with memory that does not grow with their number."""

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from regard.data.dataset import Picture
from regard.data.images.preparation import Batch, batches
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
) -> Iterator[tuple[list[int], Tensor]]:
    """Indices into `pictures` and class probabilities (batch, classes), float32 on the CPU, batch by batch in order.

    Raises `DataError` naming a picture that cannot be read, unless `on_bad` takes it.
    """
    for batch, pixels in prepared(network, pictures, batch_size=batch_size, workers=workers, on_bad=on_bad):
        yield batch.indices, batch_probabilities(network, pixels)


def batch_probabilities(network: Network, pixels: Tensor) -> Tensor:
    """Normalised pictures (batch, 3, height, width) → class probabilities (batch, classes), float32 on the CPU."""
    with lock_of(network.module):
        return network.probabilities(network.logits(pixels).float()).cpu()
