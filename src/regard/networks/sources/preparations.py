"""How a library prepares pictures for its networks, in the words of `data.pixels`."""

from dataclasses import replace
from typing import Any

import torchvision as tv
from timm.data.config import resolve_model_data_config
from torch import nn

from regard.data.images.preparation import INTERPOLATIONS, Preparation
from regard.errors import NetworkError
from regard.networks.anatomy.anatomy import pair
from regard.networks.anatomy.description import describe

HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def channels_of(module: Any) -> int:
    """How many planes of a picture a network takes: as its library says, else as its first convolution does, where
    that takes grey; else red, green and blue."""
    config = getattr(module, "config", None)
    if config is not None and hasattr(config, "to_dict"):
        return int(getattr(getattr(config, "vision_config", config), "num_channels", 3) or 3)
    first = (getattr(module, "pretrained_cfg", None) or {}).get("first_conv")
    first = first[0] if isinstance(first, list | tuple) and first else first
    parts = dict(module.named_modules())
    if isinstance(first, str) and hasattr(parts.get(first), "in_channels"):
        return int(parts[first].in_channels)
    convolution = next((part for part in parts.values() if isinstance(part, nn.Conv2d)), None)
    return 1 if convolution is not None and convolution.in_channels == 1 else 3


def with_channels(preparation: Preparation, channels: int, name: str) -> Preparation:
    """The preparation for a network of so many planes: of grey, mean and deviation are the mean of those of colours,
    as timm has it. Raises `NetworkError` for what is neither grey nor three colours."""
    if channels == preparation.channels:
        return preparation
    if channels != 1:
        raise NetworkError(
            f"{name} takes pictures of {channels} channels; regard gives 3 (red, green, blue) or 1 (grey); put a layer "
            "before it that makes its channels of these"
        )
    mean = sum(preparation.mean) / len(preparation.mean)
    std = sum(preparation.std) / len(preparation.std)
    return replace(preparation, colours="L", mean=(mean,), std=(std,))


def _three(values: Any) -> tuple[float, ...]:
    """Numbers for red, green and blue; one is of all."""
    numbers = tuple(map(float, values))
    return numbers * 3 if len(numbers) == 1 else numbers


def timm(module: nn.Module) -> tuple[Preparation, tuple[str, ...]]:
    """What timm declares of an architecture's pictures, at the size this module was built for, and what to say."""
    settings = resolve_model_data_config(module)
    built_for = getattr(getattr(module, "patch_embed", None), "img_size", None)
    height, width = describe(module).size or (pair(built_for) if built_for else settings["input_size"][1:])
    interpolation = settings["interpolation"]
    preparation = Preparation(
        height,
        width,
        mode="squash" if settings["crop_mode"] == "squash" else "crop",
        crop=min(1.0, settings["crop_pct"]),
        mean=_three(settings["mean"]),
        std=_three(settings["std"]),
        interpolation=interpolation if interpolation in INTERPOLATIONS else "bicubic",
    )
    padded = settings["crop_mode"] == "border"
    message = "timm pads this network's pictures with a border; regard crops them instead"
    name = str((getattr(module, "pretrained_cfg", None) or {}).get("architecture") or type(module).__name__)
    return with_channels(preparation, channels_of(module), name), (message,) if padded else ()


def torchvision(name: str, module: Any) -> tuple[Preparation, tuple[str, ...]]:
    """What torchvision declares of a network's published weights, at the size this module was built for.

    An unknown `name` (a ViT of the user's own sizes) is prepared as torchvision's `vit_b_16`.
    """
    name = name if name in tv.models.list_models() else "vit_b_16"
    transforms = tv.models.get_model_weights(name).DEFAULT.transforms()
    preparation = Preparation(
        module.image_size,
        module.image_size,
        crop=min(1.0, transforms.crop_size[0] / transforms.resize_size[0]),
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
    )
    return preparation, ()
