"""What predictors share: a network that is loaded once, and where it came from."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from regard.data.dataset import Picture
from regard.data.images.preparation import Preparation
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.provenance import provenance
from regard.predictors.inputs import PictureLike, each_picture
from regard.predictors.pickling import Pickled, state_of


class LoadedNetwork(Pickled):
    """A network that is loaded once, and where what it gives comes from."""

    _provenance: tuple[Any, dict[str, Any]] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.network.name!r})"

    @property
    def provenance(self) -> dict[str, Any]:
        """Where results come from. Hashing all weights takes longer than many a map: it is done again only when a
        weight was replaced or written to, which torch counts (writes to `weight.data`, which it does not, are missed).
        """
        state = state_of(self.network.module)
        if self._provenance is None or self._provenance[0] != state:
            self._provenance = state, provenance(self.network, **self._versions())
        return self._provenance[1]

    def _versions(self) -> dict[str, str]:
        """The libraries, beside those of every network, that its results depend on."""
        return {}


class Predictor(LoadedNetwork):
    """A network for any number of pictures in memory.

    `model` is what `--model` takes, or any module, which is never changed and comes back as it was. `weights`,
    `weights_part`, `classes`, `size`, `device`, `precision`, `preparation`, `grid` and `seed` are as in `regard.load`.
    May be called from several threads: calls around one module take turns.
    """

    network: Network

    def __init__(
        self,
        model: str | Path | nn.Module | Network = "pets-tiny",
        *,
        weights: str | Path | None = None,
        weights_part: str | None = None,
        classes: int | Sequence[str] | None = None,
        preparation: Preparation | None = None,
        grid: tuple[int, int] | None = None,
        size: int | tuple[int, int] | None = None,
        device: str | torch.device | None = None,
        precision: str = "float32",
        seed: int = 0,
    ) -> None:
        arguments: dict[str, Any] = {
            "weights": weights,
            "weights_part": weights_part,
            "classes": classes,
            "preparation": preparation,
            "grid": grid,
            "size": size,
            "device": device,
            "precision": precision,
            "seed": seed,
        }
        self.network = load(model, **arguments)
        self._remember(model, arguments)

    def _chunks(self, pictures: Iterable[PictureLike], size: int, is_prepared: bool) -> Iterator[list[Picture]]:
        """Pictures of any iterable, `size` at a time, no more of them held."""
        rest = each_picture(pictures, self.network, is_prepared)
        while chunk := list(islice(rest, max(size, 1))):  # less than 1 is refused with the first chunk
            yield chunk
