"""What can be trained, as the loop and its folder see it: a classifier, a captioner, or another task's network."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import nn

from regard.networks.anatomy.anatomy import Anatomy


class JsonPreparation(Protocol):
    """How pictures become inputs, as JSON: what must be the same when a run is resumed."""

    def as_json(self) -> Mapping[str, Any]: ...


class Trainable(Protocol):
    """A module with what is known of it. `outputs` counts its classes or tokens."""

    name: str

    @property
    def module(self) -> nn.Module: ...

    @property
    def anatomy(self) -> Anatomy:
        """Where its blocks are; a captioner's are those of its encoder."""

    @property
    def preparation(self) -> JsonPreparation: ...

    @property
    def outputs(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    def head_paths(self) -> tuple[str, ...]:
        """The paths of what lies behind the blocks."""

    def weights_hash(self) -> str: ...
