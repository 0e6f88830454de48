"""What a row of the table of foreign layouts says, and what its conversion gives."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from regard.data.images.preparation import Preparation
from regard.networks.sources.build import Architecture
from regard.networks.sources.checkpoint import Checkpoint


@dataclass(frozen=True)
class Converted:
    """A foreign checkpoint in timm's layout, with the architecture it belongs to and how its pictures are prepared.

    `unnamed` is what there is to say in addition where nobody named the architecture.
    """

    architecture: Architecture
    tensors: dict[str, Tensor]
    preparation: Preparation
    messages: tuple[str, ...]
    unnamed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A row: a name for messages, keys that only this layout has, and the conversion.

    `convert` takes the checkpoint, the size of picture asked for, and the number of outputs asked for (or None).
    """

    name: str
    keys: frozenset[str]
    convert: Callable[[Checkpoint, tuple[int, int] | None, int | None], Converted]
