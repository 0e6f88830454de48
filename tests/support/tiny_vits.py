"""Tiny awake ViTs of each way to read: CLS, with registers, the average of the patches, a pooling by attention."""

import copy
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from vit_twin import Vit, written_out
from woken import wake_timm

from regard.networks.load import load
from regard.networks.network import Network

CLASSES = 5
_SMALL = {"embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": CLASSES, "mlp_ratio": 2.0}


@dataclass(frozen=True)
class Tiny:
    """Sizes are (height, width) in pixels; grids are 2 × 3 patches."""

    name: str
    reads: str = "cls"
    size: tuple[int, int] = (16, 24)
    patch: tuple[int, int] = (8, 8)
    more: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def pictures(self) -> Tensor:
        """(2, 3, height, width) float32."""
        return torch.randn(2, 3, *self.size, generator=torch.Generator().manual_seed(0))

    def network(self, dtype: torch.dtype = torch.float32) -> Network:
        """A network of the test's own, to be changed as it likes."""
        return load(copy.deepcopy(awake(self)).to(dtype))

    @property
    def twin(self) -> Vit:
        return written_out(awake(self), self.reads)


@cache
def awake(tiny: Tiny) -> VisionTransformer:
    """The module, awake on its pictures. Leave it as it is."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = VisionTransformer(img_size=tiny.size, patch_size=tiny.patch, **{**_SMALL, **tiny.more})
        wake_timm(module, tiny.pictures)
    return module.eval()


_REGISTERS = {"reg_tokens": 2, "init_values": 1.0, "depth": 4}

CLS = Tiny("cls")
TINY = (
    CLS,
    Tiny("registers, layer scale, oblong patches", size=(16, 12), patch=(8, 4), more=_REGISTERS),
    Tiny("averaged beside a CLS token", "patches", more={"global_pool": "avg"}),
    Tiny("averaged", "patches", more={"global_pool": "avg", "class_token": False}),
    Tiny("pooling", "pool", more={"global_pool": "map", "class_token": False}),
)
