"""A module of the user's own, from whatever library: what is known of it, and how it may be rebuilt."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from regard.data.images.preparation import Preparation
from regard.errors import NetworkError, UsageError
from regard.networks.anatomy.anatomy import Anatomy, kind_of
from regard.networks.anatomy.description import describe
from regard.networks.anatomy.discovery import discover
from regard.networks.anatomy.wrapper import describe_wrapped, path_inside
from regard.networks.guard import is_sealed
from regard.networks.network import Network
from regard.networks.sources import huggingface, preparations
from regard.networks.sources.build import TORCHVISION_CLASS, Architecture, build, is_timm, timm_arguments_fit


def describe_module(
    module: nn.Module,
    size: tuple[int, int] | None = None,
    preparation: Preparation | None = None,
    grid: tuple[int, int] | None = None,
) -> Network:
    """A network around `module`, which is not changed; how its pictures are prepared is found or said to be assumed.

    A module whose architecture is found (timm, torchvision, transformers) can be saved as a run; any other cannot. Of a
    module that is not known, but holds one network that is, the parts of that one hold; else `grid` (rows, columns) of
    its patches lets its attention be found. Raises `NetworkError` for a size the module was not built for, and
    `UsageError` for a grid that is not the network's.
    """
    module, notes = _tower(_unwrapped(module))
    anatomy = describe(module)
    if huggingface.is_transformers(module) and not huggingface.is_classifier(module):
        notes = (*notes, huggingface.without_head(type(module).__name__))
    assumed, assumptions = _preparation(module, anatomy, size)
    path = path_inside(module) if anatomy.family is None else None
    if path is not None:
        inside = module.get_submodule(path)
        declared = preparation or _preparation(inside, describe(inside), size)[0]
        wrapped = describe_wrapped(module, path, (declared.height, declared.width), declared.channels)
        if wrapped is not None:
            name = f"{path} ({type(inside).__name__})"
            anatomy = wrapped
            assumed = declared
            notes = (*notes, f"what this {type(module).__name__} attends to is that of {name}")
            assumptions = (f"pictures are prepared as for {name}; give `preparation` where that is wrong",)
    if size is not None and anatomy.size not in (None, size) and not anatomy.flexible:
        raise NetworkError(
            f"this module takes pictures of {anatomy.size} (height, width), not {size}; build it for that size"
        )
    used = preparation or assumed
    if grid is not None:
        anatomy, message = with_grid(module, anatomy, (used.height, used.width), grid)
        notes = (*notes, *message)
    architecture = _architecture(module)
    names = huggingface.class_names(module.config) if huggingface.is_classifier(module) else None
    messages = notes if preparation else (*notes, *assumptions)
    return Network(module, str(architecture["name"]), architecture, used, names, messages, anatomy)


def with_grid(
    module: nn.Module, anatomy: Anatomy, size: tuple[int, int], grid: tuple[int, int]
) -> tuple[Anatomy, tuple[str, ...]]:
    """The anatomy with the user's grid, and what was found by it."""
    if anatomy.family is not None:
        if anatomy.grid(*size) != grid:
            actual = " × ".join(map(str, anatomy.grid(*size)))
            raise UsageError(
                f"this network has a grid of {actual} patches, not of {grid[0]} × {grid[1]}; leave grid out"
            )
        return anatomy, ()
    anatomy = discover(module, anatomy, size, grid, preparations.channels_of(module))
    layers = len(anatomy.attentions)
    prefix = f", behind {anatomy.prefix} other tokens" if anatomy.prefix else ""
    what = f"{layers} layers that attend to {grid[0]} × {grid[1]} patches{prefix}"
    return anatomy, (f"heard in this module: {what if layers else 'no attention to patches'}",)


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module whose parts can be reached, where torch's compiler or its ways of training on many devices wrap it."""
    while not is_sealed(module):
        inside = module._modules.get("_orig_mod" if "_orig_mod" in module._modules else "module")
        if inside is None or not type(module).__module__.startswith("torch."):
            return module
        module = inside
    return module


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
"""Networks of which only a part takes pictures, or takes them whole, and its path there."""


def _tower(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """The part of a network that takes pictures, and a message where that is not all of it."""
    name = type(module).__name__
    path = _TOWERS.get(kind_of(module))
    if path is None:
        return module, ()
    inside, _ = _tower(module.get_submodule(path))
    return inside, (f"of this {name} only {path} ({type(inside).__name__}) is used: its outputs are its features",)


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


def _shapes(module: nn.Module) -> dict[str, torch.Size | None]:
    """Of each weight; None for what stands there in its place where weights are quantised."""
    return {name: getattr(value, "shape", None) for name, value in module.state_dict().items()}


def _candidate(module: Any) -> Architecture | None:
    """The architecture as the library that made the module records it."""
    if huggingface.is_transformers(module):
        return huggingface.architecture(module)
    family = describe(module).family
    if family == "torchvision vit":
        return {"kind": "torchvision", "name": TORCHVISION_CLASS, "arguments": _torchvision_arguments(module)}
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


def _preparation(module: Any, anatomy: Anatomy, size: tuple[int, int] | None) -> tuple[Preparation, tuple[str, ...]]:
    """timm says how pictures are prepared; of any other module it is assumed, and said so."""
    if getattr(module, "pretrained_cfg", None):
        return preparations.timm(module)
    if anatomy.family == "torchvision vit":
        return preparations.torchvision("", module)
    height, width = size or anatomy.size or (224, 224)
    message = (
        f"how this module's pictures are prepared is not known: assumed {height} × {width} pixels, cropped, "
        "normalised as for ImageNet; give `preparation` where that is wrong"
    )
    assumed = Preparation(height, width, mean=preparations.IMAGENET_MEAN, std=preparations.IMAGENET_STD)
    channels = preparations.channels_of(module)
    return preparations.with_channels(assumed, channels, type(module).__name__), (message,)
