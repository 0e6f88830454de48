"""Checkpoints of other packages, recognised by their keys alone and converted to timm's layout.

A row of `LAYOUTS` recognises one layout and converts it. Values are moved and joined, never computed anew, so the
network computes what the original did.
"""

from dataclasses import replace

from regard.networks.sources.checkpoint import Checkpoint
from regard.networks.sources.fit import taken_out
from regard.networks.sources.foreign import open_clip
from regard.networks.sources.foreign.flax import EMBEDDING, convert_flax
from regard.networks.sources.foreign.layout import Converted, Layout
from regard.networks.sources.foreign.pretrained_vit import KEYS, convert_pretrained_vit

__all__ = ["LAYOUTS", "Converted", "Layout", "recognise"]

LAYOUTS: tuple[Layout, ...] = (
    Layout("Google's ViT (.npz)", frozenset({EMBEDDING}), convert_flax),
    Layout("pytorch_pretrained_vit", KEYS, convert_pretrained_vit),
    Layout("open_clip's ViT", open_clip.KEYS, open_clip.convert),
)


def recognise(checkpoint: Checkpoint, part: str | None = None) -> tuple[Layout, Checkpoint] | None:
    """The layout of a checkpoint with those of its tensors that are the network's, wherever they lie; None for one that
    is in no row. Of several networks it is the averaged one, or that of `part`."""
    for layout in LAYOUTS:
        tensors, notes = taken_out(checkpoint.tensors, layout.keys, "", part, checkpoint.path)
        if layout.keys <= tensors.keys():
            key = next(iter(layout.keys))
            prefix = next(name.removesuffix(key) for name, value in checkpoint.tensors.items() if value is tensors[key])
            modules = checkpoint.modules
            if modules is not None:
                modules = frozenset(name.removeprefix(prefix) for name in modules if name.startswith(prefix))
            beside = frozenset(checkpoint.tensors) - {prefix + name for name in tensors}
            messages = (*checkpoint.messages, *notes)
            return layout, replace(checkpoint, tensors=tensors, modules=modules, messages=messages, beside=beside)
    return None
