"""A module of the user's own, from whatever library: what is known of it, and how it may be rebuilt."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from regard.data.images.preparation import Preparation
from regard.errors import NetworkError, UsageError
from regard.networks.anatomy.anatomy import Anatomy, kind_of
from regard.networks.anatomy.description import describe
from regard.networks.anatomy.discovery import discover
from regard.networks.network import Network
from regard.networks.sources import huggingface, preparations
from regard.networks.sources.build import OWN_TORCHVISION, Architecture, build, is_timm, timm_arguments_fit


def describe_module(
    module: nn.Module,
    size: tuple[int, int] | None = None,
    preparation: Preparation | None = None,
    grid: tuple[int, int] | None = None,
) -> Network:
    """A network around `module`, which is not changed; how its pictures are prepared is found or said to be assumed.

    A module whose architecture is found (timm, torchvision, transformers) can be saved as a run; any other cannot. Of a
    module that is not known, `grid` (rows, columns) of its patches lets its attention be found. Raises `NetworkError`
    for a size the module was not built for, and `UsageError` for a grid that is not the network's.
    """
    module, said = _tower(_unwrapped(module))
    anatomy = describe(module)
    if huggingface.is_transformers(module) and not huggingface.is_classifier(module):
        said = (*said, huggingface.without_head(type(module).__name__))
    found, messages = _preparation(module, anatomy, size)
    if size is not None and anatomy.size not in (None, size) and not anatomy.flexible:
        raise NetworkError(
            f"this module takes pictures of {anatomy.size} (height, width), not {size}; build it for that size"
        )
    if grid is not None:
        prepared = preparation or found
        anatomy, heard = _with_grid(module, anatomy, (prepared.height, prepared.width), grid)
        said = (*said, *heard)
    architecture = _architecture(module)
    return Network(
        module,
        str(architecture["name"]),
        architecture,
        preparation or found,
        _class_names(module),
        (*said, *(() if preparation else messages)),
        anatomy,
    )


def _with_grid(
    module: nn.Module, anatomy: Anatomy, size: tuple[int, int], grid: tuple[int, int]
) -> tuple[Anatomy, tuple[str, ...]]:
    """The anatomy with the grid that the user tells, and what was found by it."""
    if anatomy.family is not None:
        if anatomy.grid(*size) != grid:
            own = " × ".join(map(str, anatomy.grid(*size)))
            raise UsageError(f"this network has a grid of {own} patches, not of {grid[0]} × {grid[1]}; leave grid out")
        return anatomy, ()
    found = discover(module, anatomy, size, grid)
    layers, more = len(found.attentions), f", behind {found.prefix} other tokens" if found.prefix else ""
    what = (
        f"{layers} layers that attend to {grid[0]} × {grid[1]} patches{more}" if layers else "no attention to patches"
    )
    return found, (f"heard in this module: {what}",)


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module whose parts can be seen, where torch's compiler or its ways of training on many devices wrap it."""
    while True:
        inside = module._modules.get("_orig_mod" if "_orig_mod" in module._modules else "module")
        if inside is None or not type(module).__module__.startswith("torch."):
            return module
        module = inside


_TOWERS = {
    "open_clip.model.CLIP": "visual",
    "open_clip.model.CustomTextCLIP": "visual",
    "open_clip.coca_model.CoCa": "visual",
    "open_clip.timm_model.TimmModel": "trunk",
    "transformers.models.clip.modeling_clip.CLIPModel": "vision_model",
    "transformers.models.siglip.modeling_siglip.SiglipModel": "vision_model",
    "transformers.models.siglip2.modeling_siglip2.Siglip2Model": "vision_model",
    "transformers.models.vit_mae.modeling_vit_mae.ViTMAEForPreTraining": "vit",
}
"""Networks of which only a part sees pictures, or sees them whole, and what they call it."""


def _tower(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """The part of a network that sees pictures, and what there is to say where that is not all of it."""
    name, path = type(module).__name__, _TOWERS.get(kind_of(module))
    if path is None:
        return module, ()
    inside, _ = _tower(module.get_submodule(path))
    return inside, (f"of this {name} only {path} ({type(inside).__name__}) is used: its outputs are its features",)


def copy_of(module: nn.Module) -> nn.Module:
    """A copy that may be changed."""
    return copy.deepcopy(module)


def _architecture(module: Any) -> Architecture:
    """How to build such a module again, checked against its shapes; kind "module" where that is not known."""
    nothing: Architecture = {"kind": "module", "name": type(module).__name__, "arguments": {}}
    candidate = _candidate(module)
    if candidate is None:
        return nothing
    try:
        with torch.device("meta"):
            twin = build(candidate)
    except (NetworkError, RuntimeError, NotImplementedError):
        return nothing
    return candidate if _shapes(twin) == _shapes(module) else nothing


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def _candidate(module: Any) -> Architecture | None:
    """The architecture as the library that made the module records it."""
    if huggingface.is_transformers(module):
        return huggingface.architecture(module)
    family = describe(module).family
    if family == "torchvision vit":
        return {"kind": "torchvision", "name": OWN_TORCHVISION, "arguments": _torchvision_arguments(module)}
    settings: Mapping[str, Any] = getattr(module, "pretrained_cfg", None) or {}
    name = str(settings.get("architecture") or "")
    arguments = {**getattr(module, "_model_args", {}), "num_classes": getattr(module, "num_classes", None)}
    if not is_timm(name) or not timm_arguments_fit(arguments):
        return None
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in arguments.items()}
    return {"kind": "timm", "name": name, "arguments": plain}


def _torchvision_arguments(module: Any) -> dict[str, Any]:
    return {
        "image_size": module.image_size,
        "patch_size": module.patch_size,
        "num_layers": len(module.encoder.layers),
        "num_heads": module.encoder.layers[0].num_heads,
        "hidden_dim": module.hidden_dim,
        "mlp_dim": module.mlp_dim,
        "num_classes": module.num_classes,
        "representation_size": module.representation_size,
    }


def _class_names(module: Any) -> tuple[str, ...] | None:
    return huggingface.class_names(module.config) if huggingface.is_classifier(module) else None


def _preparation(module: Any, anatomy: Anatomy, size: tuple[int, int] | None) -> tuple[Preparation, tuple[str, ...]]:
    """timm says how pictures are prepared; of any other module it is assumed, and said so."""
    if getattr(module, "pretrained_cfg", None):
        return preparations.timm(module)
    if anatomy.family == "torchvision vit":
        return preparations.torchvision("", module), ()
    height, width = size or anatomy.size or (224, 224)
    message = (
        f"how this module's pictures are prepared is not known: assumed {height} × {width} pixels, cropped, "
        "normalised as for ImageNet; give `preparation` where that is wrong"
    )
    return Preparation(height, width, mean=preparations.IMAGENET_MEAN, std=preparations.IMAGENET_STD), (message,)
