"""How a library prepares pictures for its networks, in the words of `data.pixels`."""

from typing import Any

import torchvision as tv
from timm.data import resolve_model_data_config
from torch import nn

from regard.data.images.preparation import INTERPOLATIONS, Preparation
from regard.networks.anatomy.description import describe

HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def timm(module: nn.Module) -> tuple[Preparation, tuple[str, ...]]:
    """What timm declares of an architecture's pictures, at the size this module was built for, and what to say."""
    settings = resolve_model_data_config(module)
    height, width = describe(module).size or settings["input_size"][1:]
    interpolation = settings["interpolation"]
    preparation = Preparation(
        height,
        width,
        mode="squash" if settings["crop_mode"] == "squash" else "crop",
        crop=min(1.0, settings["crop_pct"]),
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        interpolation=interpolation if interpolation in INTERPOLATIONS else "bicubic",
    )
    padded = settings["crop_mode"] == "border"
    message = "timm pads this network's pictures with a border; regard crops them instead"
    return preparation, (message,) if padded else ()


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
