"""open_clip's checkpoints: the tower for pictures of a network of pictures and texts, turned into timm's layout.

What shapes do not tell (the width of a head, the activation, what is pooled, how pictures are prepared) stands in
`open_clip_config.json` beside the weights; without it open_clip's defaults hold, and that is said.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from regard.data.images.preparation import Preparation
from regard.errors import NetworkError, UsageError
from regard.files import read_json, reading
from regard.networks.anatomy.anatomy import pair
from regard.networks.sources.build import is_timm
from regard.networks.sources.checkpoint import Checkpoint
from regard.networks.sources.foreign.layout import Converted

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
KEYS = frozenset(
    (
        *("class_embedding", "conv1.weight", "positional_embedding", "ln_post.weight"),
        *("transformer.resblocks.0.attn.in_proj_weight", "transformer.resblocks.0.mlp.c_fc.weight"),
    )
)
_AGAIN = "fetch it again"
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""OpenAI's, which are open_clip's defaults."""

_TRUNK = re.compile(r"(?:^|.*\.)visual\.trunk\.")
_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.")
_HEADS = {1280: 80, 1408: 88, 1664: 104, 1792: 112}
"""How many values a head has, by the width of open_clip's own configurations; all others have 64."""
_NAMES = {
    (768, 32): "vit_base_patch32_clip",
    (1024, 14): "vit_large_patch14_clip",
    (1280, 14): "vit_huge_patch14_clip",
    (1664, 14): "vit_gigantic_patch14_clip",
}
_UNDERSTOOD = {
    *("layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size", "ls_init_value", "patch_dropout"),
    *("no_ln_pre", "pos_embed_type", "final_ln_after_pool", "pool_type", "output_tokens"),
    *("attn_pooler_queries", "attn_pooler_heads"),  # of pooling by attention, which is refused
}
"""Settings of a tower that timm's ViT expresses; all others must be off."""
_RENAMED = (
    (r"conv1\.", "patch_embed.proj."),
    (r"positional_embedding$", "pos_embed"),
    (r"class_embedding$", "cls_token"),
    (r"ln_pre\.", "norm_pre."),
    (r"ln_post\.", "norm."),
    (r"transformer\.resblocks\.(\d+)\.(?:ln|ls)_(\d)\.", r"blocks.\1.{}\2."),
    (r"transformer\.resblocks\.(\d+)\.attn\.in_proj_", r"blocks.\1.attn.qkv."),
    (r"transformer\.resblocks\.(\d+)\.attn\.out_proj\.", r"blocks.\1.attn.proj."),
    (r"transformer\.resblocks\.(\d+)\.mlp\.c_fc\.", r"blocks.\1.mlp.fc1."),
    (r"transformer\.resblocks\.(\d+)\.mlp\.c_proj\.", r"blocks.\1.mlp.fc2."),
)


def weights_of(folder: Path) -> Path:
    """The weights in a folder of open_clip's. Raises `NetworkError` where there are none."""
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise NetworkError(f"{folder} has no weights: it holds none of {', '.join(WEIGHTS)}; fetch it again")
    return path


def convert(checkpoint: Checkpoint, size: tuple[int, int] | None, outputs: int | None) -> Converted:
    """Any size of open_clip's ViT, as an encoder: the projection into the space of texts is left out."""
    config = _read_config(checkpoint.path.parent)
    settings = dict((config or {}).get("vision_cfg", {}))
    _check_settings(checkpoint, settings if config else None)
    tensors = dict(checkpoint.tensors)
    width, _, rows, columns = tensors["conv1.weight"].shape
    head_width = int(settings.get("head_width", 64) if config else _HEADS.get(width, 64))
    image = _image_size(checkpoint, settings, head_width)
    quick = bool(config["quick_gelu"]) if config else "input_resolution" in checkpoint.beside
    name = f"{_NAMES.get((width, rows), 'vit_base_patch16_clip')}{'_quickgelu' if quick else ''}_224"
    arguments: dict[str, Any] = {
        "img_size": list(size or image),
        "patch_size": rows if rows == columns else [rows, columns],
        "embed_dim": width,
        "depth": len({match[1] for key in tensors if (match := _BLOCK.match(key))}),
        "num_heads": width // head_width,
        "mlp_ratio": len(tensors["transformer.resblocks.0.mlp.c_fc.weight"]) / width,
    }
    pooled = settings.get("pool_type", "tok") == "avg"
    pooled_first = pooled and bool(settings.get("final_ln_after_pool"))
    if pooled:
        arguments |= {"global_pool": "avg", "fc_norm": pooled_first}
    if "ln_pre.weight" not in tensors:  # then timm's patches have a bias
        arguments["pre_norm"] = False
        tensors["conv1.bias"] = torch.zeros(width)
    if "transformer.resblocks.0.ls_1.gamma" in tensors:
        arguments["init_values"] = 1.0
    messages = [f"{checkpoint.path} has the layout of open_clip's ViT"]
    if tensors.pop("proj", None) is not None:
        messages.append("left out its projection into the space of texts: its outputs are the features before it")
    unnamed = [f"read as timm {name}"]
    if config is None:
        unnamed.append(_assumed(checkpoint.path, name, quick, head_width))
    converted = {_rename(key, pooled_first): value for key, value in tensors.items()}
    converted["cls_token"] = converted["cls_token"].reshape(1, 1, width)
    converted["pos_embed"] = converted["pos_embed"][None]
    architecture = {"kind": "timm", "name": name, "arguments": arguments}
    preparation = _preparation(config, *(size or image))
    return Converted(architecture, converted, preparation, tuple(messages), tuple(unnamed))


def _check_settings(checkpoint: Checkpoint, settings: Mapping[str, Any] | None) -> None:
    """Raise `NetworkError` for a tower that timm's ViT does not express, or that needs its (missing) settings."""
    strange = sorted(name for name, value in (settings or {}).items() if value and name not in _UNDERSTOOD)
    if any(name.startswith("attn_pool") for name in checkpoint.tensors):
        strange = ["attentional_pool"]
    if strange:
        raise NetworkError(
            f"{checkpoint.path} is open_clip's ViT with {', '.join(strange)}, which regard does not build; build it "
            "with open_clip, and give the module in Python"
        )
    if settings is None and "ln_pre.weight" not in checkpoint.tensors:
        raise NetworkError(
            f"{checkpoint.path} is open_clip's ViT without ln_pre, and the file does not say what such a network "
            f"pools; put its {CONFIG} beside it"
        )


def _image_size(checkpoint: Checkpoint, settings: Mapping[str, Any], head_width: int) -> tuple[int, int]:
    """(height, width) of the pictures that the positions are for. Raises `NetworkError` where sizes contradict."""
    width, _, rows, columns = checkpoint.tensors["conv1.weight"].shape
    count = len(checkpoint.tensors["positional_embedding"]) - 1
    side = math.isqrt(count)
    image = pair(settings["image_size"]) if "image_size" in settings else (side * rows, side * columns)
    if width % head_width or (image[0] // rows) * (image[1] // columns) != count:
        raise NetworkError(
            f"{checkpoint.path} does not fit its {CONFIG}: width {width} with heads of {head_width}, pictures of "
            f"{image[0]} × {image[1]} with {count} patches of {rows} × {columns}; fetch both again"
        )
    return image


def _assumed(path: Path, name: str, quick: bool, head_width: int) -> str:
    """What the file does not say, what was taken, and how to say otherwise."""
    activation = "QuickGELU, as the file is OpenAI's," if quick else "GELU"
    message = f"no {CONFIG} lies beside {path}: took {activation} and heads of {head_width} values"
    if quick:
        return message
    other = name.replace("_clip_", "_clip_quickgelu_")
    return f"{message}; where its network has QuickGELU (OpenAI's, DFN's, MetaCLIP's): --model {other} --weights {path}"


def convert_trunk(checkpoint: Checkpoint, size: tuple[int, int] | None, outputs: int | None) -> Converted | None:
    """A tower of timm's in a network of open_clip's, as an encoder; None for another file.

    Raises `NetworkError` where no `open_clip_config.json` beside the file names it.
    """
    prefix = _trunk_of(checkpoint)
    if prefix is None:
        return None
    config = _read_config(checkpoint.path.parent)
    settings = dict((config or {}).get("vision_cfg", {}))
    name = str(settings.get("timm_model_name"))
    if config is None or "timm_model_name" not in settings:
        raise NetworkError(
            f"{checkpoint.path} holds a tower of timm's ({prefix}*) and does not say which; put its {CONFIG} beside "
            f"it, or name the tower: --model NAME --weights {checkpoint.path}"
        )
    pool = settings.get("timm_pool", "avg")
    if not is_timm(name) or pool in ("abs_attn", "rot_attn"):
        raise NetworkError(
            f"{checkpoint.path} is a tower of timm's {name!r} with pooling {pool!r}, which regard does not build; "
            "build it with open_clip, and give the module in Python"
        )
    arguments: dict[str, Any] = {"global_pool": pool} if pool else {}
    if size is not None:
        arguments["img_size"] = list(size)
    tensors = {key.removeprefix(prefix): value for key, value in checkpoint.tensors.items() if key.startswith(prefix)}
    if pool == "avg" and "cls_token" in tensors and "fc_norm.weight" not in tensors:
        arguments["fc_norm"] = False  # open_clip changes the pooling of a built network, whose norm stays where it was
    head = "head." if "head.weight" in tensors else "head.fc."
    tensors = {key: value for key, value in tensors.items() if not key.startswith(head)}
    image = size or pair(settings.get("image_size", 224))
    messages = (
        f"took the tower for pictures ({prefix}*) of {checkpoint.path}, timm's {name}, without its projection into the "
        "space of texts",
    )
    architecture = {"kind": "timm", "name": name, "arguments": arguments}
    return Converted(architecture, tensors, _preparation(config, *image), messages)


def preparation_beside(checkpoint: Checkpoint, size: tuple[int, int]) -> Preparation | None:
    """How the `open_clip_config.json` beside a file of open_clip's prepares pictures; None where neither is there."""
    config = _read_config(checkpoint.path.parent)
    is_tower = _trunk_of(checkpoint) is not None or checkpoint.tensors.keys() >= KEYS
    return None if config is None or not is_tower else _preparation(config, *size)


def _trunk_of(checkpoint: Checkpoint) -> str | None:
    """What stands before the names of a tower of timm's."""
    matches = (_TRUNK.match(name) for name in checkpoint.tensors)
    return next((match[0] for match in matches if match), None)


def _read_config(folder: Path) -> dict[str, Any] | None:
    """`model_cfg` of the file beside the weights, with `preprocess_cfg` in it; None where there is no such file."""
    path = folder / CONFIG
    if not path.is_file():
        return None
    stored = read_json(path, _AGAIN, NetworkError, {"model_cfg": dict})
    with reading(path, _AGAIN, NetworkError):
        config = {"quick_gelu": False, **stored["model_cfg"]}
        vision = dict(config["vision_cfg"])
        sizes = (int(vision.get("head_width", 64)), *map(int, pair(vision.get("image_size", 224))))
        if min(sizes) < 1:
            raise ValueError(f"a size of {min(sizes)}")
        return {**config, "vision_cfg": vision, "preprocess_cfg": dict(stored.get("preprocess_cfg") or {})}


def _preparation(config: Mapping[str, Any] | None, height: int, width: int) -> Preparation:
    """As open_clip's evaluation does it: the short side resized and the centre taken, or the whole picture squeezed."""
    settings = dict((config or {}).get("preprocess_cfg", {}))
    mode = settings.get("resize_mode") or "shortest"
    modes = {"shortest": "crop", "squash": "squash"}
    if mode not in modes:
        raise NetworkError(
            f"{CONFIG} resizes pictures by {mode!r}, which regard does not; it takes {' or '.join(modes)}: give "
            "`preparation` in Python with the module"
        )
    try:
        return Preparation(
            height,
            width,
            mode=modes[mode],
            crop=1.0,
            mean=tuple(map(float, settings.get("mean") or MEAN)),
            std=tuple(map(float, settings.get("std") or STD)),
            interpolation=str(settings.get("interpolation") or "bicubic"),
        )
    except (TypeError, ValueError, UsageError) as error:
        raise NetworkError(f"{CONFIG} is damaged: its preprocess_cfg has {error}; fetch it again") from error


def _rename(name: str, pooled_first: bool) -> str:
    for pattern, replacement in _RENAMED:
        renamed, count = re.subn(f"^{pattern}", replacement, name)
        if count:
            renamed = renamed.format("norm" if ".ln_" in name else "ls")
            return renamed.replace("norm.", "fc_norm.") if pooled_first and name.startswith("ln_post.") else renamed
    return name
