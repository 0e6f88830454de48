"""The image processor of a Hugging Face folder as a `Preparation`, tried against the processor itself.

What cannot be expressed is refused: another input than the network was trained on gives other answers, unsaid.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image

from regard.data.images.preparation import Preparation
from regard.errors import NetworkError, UsageError

PLAIN = "ViTImageProcessor"
"""Does what its settings say, and nothing else; for folders that do not say whose settings theirs are."""
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
_SIDES = ((1.1, 1.5), (1.5, 1.1), (1.2, 1.2))
"""(height, width) of the pictures of the trial, in those of the input: wide, tall, square."""
_DIFFERENT = 0.02
"""Of white: libraries that resize differ by a tenth of that, another field of view or range by more."""


def preparation_of(
    settings: Mapping[str, Any], model_type: str, what: str, channels: int = 3
) -> tuple[Preparation, tuple[str, ...]]:
    """How a processor with these settings (its JSON) prepares pictures, and what there is to say of it.

    `model_type` is of the configuration beside it, `what` names the folder, whose network takes so many `channels`.
    Raises `NetworkError` for what is no `Preparation`.
    """
    kind = _kind(settings, model_type)
    if "max_num_patches" in settings or kind == "Siglip2ImageProcessor":
        return _of_patches(settings), (
            f"{what}'s image processor keeps each picture's aspect, in as many patches as fit; regard squashes them "
            "to the square that its positions are of",
        )
    processor = _processor(kind, settings, what)
    if kind == "ConvNextImageProcessor" and not dict(processor.size).get("shortest_edge"):
        raise _refusal(what, kind, "it has no size with a shortest_edge")
    preparation = _expressed(kind, processor, what, channels)
    _try(processor, preparation, kind, what)
    return preparation, ()


def _kind(settings: Mapping[str, Any], model_type: str) -> str:
    """The name of the processor's class, without the marks of its ages and backends."""
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES as PROCESSORS

    named = settings.get("image_processor_type") or settings.get("feature_extractor_type")
    if not named:
        row = PROCESSORS.get(model_type) or PROCESSORS.get(model_type.removesuffix("_vision_model")) or {}
        named = next(iter(dict(row).values()), PLAIN)
    name = str(named).replace("FeatureExtractor", "ImageProcessor")
    return name.removesuffix("Fast").removesuffix("Pil")


def _processor(kind: str, settings: Mapping[str, Any], what: str) -> Any:
    """The processor itself; transformers' own classes alone, never code that comes with a folder."""
    import transformers

    owner = getattr(transformers, kind, None)
    if not kind.endswith("ImageProcessor") or owner is None:
        raise _refusal(what, kind, "transformers has no such image processor")
    try:
        return owner.from_dict(dict(settings))
    except Exception as error:  # whatever a stranger's settings make it raise
        raise _refusal(what, kind, (str(error) or type(error).__name__).splitlines()[0][:120]) from error


def _refusal(what: str, kind: str, reason: str) -> NetworkError:
    return NetworkError(
        f"{what} prepares its pictures by {kind}, which regard cannot do alike: {reason}; change its "
        "preprocessor_config.json to a resize, a centre crop and a normalisation, or give `preparation` in Python"
    )


def _expressed(kind: str, processor: Any, what: str, channels: int) -> Preparation:
    """The settings of a processor, its class's defaults among them, as a `Preparation`."""
    size = {name: int(value) for name, value in dict(processor.size or {}).items() if value}
    crop = dict(processor.crop_size or {}) if getattr(processor, "do_center_crop", False) else None
    output = None if crop is None else (int(crop.get("height") or 0), int(crop.get("width") or 0))
    short = size.get("shortest_edge")
    fixed = (size["height"], size["width"]) if size.keys() >= {"height", "width"} else None
    share = float(getattr(processor, "crop_pct", None) or 1.0)
    if kind == "ConvNextImageProcessor" and short is not None:
        output = (short, short)
        fixed = None if short < 384 else output
        short = int(short / share)
    elif kind == "PoolFormerImageProcessor" and processor.crop_pct is not None:
        if fixed is not None and fixed[0] != fixed[1]:
            fixed = (int(fixed[0] / share), int(fixed[1] / share))
        else:
            short = int((short or size["height"]) / share)
            fixed = None
    elif kind == "LevitImageProcessor" and short is not None:
        short = int(256 / 224 * short)
    elif getattr(processor, "resize_short", None) is not None:
        fixed = None
        short = int(processor.resize_short)
    resized = None
    if not processor.do_resize:
        mode = "centre"
    elif fixed is not None:
        mode = "squash"
        resized = None if output in (None, fixed) else fixed
        output = output or fixed
    elif short is not None and "longest_edge" not in size:
        mode = "crop"
        resized = (short, short)
    else:
        raise _refusal(what, kind, f"what it makes of a picture depends on the picture (its size is {size})")
    if output is None or 0 in output:
        raise _refusal(what, kind, "it crops nothing, so that pictures of another aspect come in another size")
    mean, std = _values(processor, bool(processor.do_normalize) and kind != "MobileViTImageProcessor")
    if len(mean) == 1 and channels == 3:
        mean *= 3
        std *= 3
    flipped = getattr(processor, "do_flip_channel_order", False) or kind == "PPLCNetImageProcessor"
    try:
        return Preparation(
            *output,
            mode=mode,
            crop=1.0,
            mean=mean[::-1] if flipped else mean,
            std=std[::-1] if flipped else std,
            interpolation=_RESAMPLING[int(2 if processor.resample is None else processor.resample)],
            resized=resized,
            colours="L" if len(mean) == 1 else "BGR" if flipped else "RGB",
        )
    except (UsageError, KeyError) as error:
        raise _refusal(what, kind, str(error)) from error


def _values(processor: Any, normalised: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation in units of white: what comes out of a pixel of v / 255 is (v / 255 - mean) / deviation."""
    white = 255 * float(processor.rescale_factor) if processor.do_rescale else 255.0
    white = 1.0 if abs(white - 1) < 1e-6 else white
    offset = 1.0 if processor.do_rescale and getattr(processor, "rescale_offset", False) else 0.0
    mean = _colours(processor.image_mean if normalised else 0.0)
    std = _colours(processor.image_std if normalised else 1.0)
    again = _colours(processor.image_std) if getattr(processor, "include_top", False) else (1.0,) * len(std)
    return (
        tuple((each + offset) / white for each in mean),
        tuple(each * other / white for each, other in zip(std, again, strict=False)),
    )


def _colours(values: Any) -> tuple[float, ...]:
    """A number for each colour; one number is of all."""
    if values is None:
        return (0.5,) * 3
    return (float(values),) * 3 if isinstance(values, int | float) else tuple(map(float, values))


def _of_patches(settings: Mapping[str, Any]) -> Preparation:
    """SigLIP 2's, whose input has no size: the whole picture, at a size that the network decides."""
    side = int(settings.get("patch_size", 16)) * int(int(settings.get("max_num_patches", 256)) ** 0.5)
    mean = _colours(settings.get("image_mean"))
    std = _colours(settings.get("image_std"))
    resampling = _RESAMPLING.get(int(settings.get("resample", 2)), "bilinear")
    return Preparation(side, side, mode="squash", mean=mean, std=std, interpolation=resampling)


def _try(processor: Any, preparation: Preparation, kind: str, what: str) -> None:
    """Refuse where the two make different inputs of the same pictures."""
    for tall, wide in _SIDES:
        image = _picture(round(tall * preparation.height), round(wide * preparation.width))
        given = image if preparation.channels == 3 else image.convert("L")
        try:
            theirs = torch.as_tensor(np.asarray(processor(given, return_tensors="pt")["pixel_values"][0])).float()
        except Exception as error:  # whatever a stranger's settings make it raise
            raise _refusal(what, kind, (str(error) or type(error).__name__).splitlines()[0][:120]) from error
        ours = preparation.tensor(image)
        if theirs.shape != ours.shape:
            sizes = " and ".join(" × ".join(map(str, each.shape)) for each in (theirs, ours))
            raise _refusal(what, kind, f"its inputs and regard's would be {sizes}")
        white = torch.tensor(preparation.std).view(-1, 1, 1)
        difference = float(((ours - theirs) * white).abs().mean())
        if not difference < _DIFFERENT:
            raise _refusal(what, kind, f"its inputs and regard's would differ by {difference:.2f} of white")


def _picture(height: int, width: int) -> Image.Image:
    """Something smooth of which no two places and no two colours are alike."""
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    planes = (down, across**2, (1 - down) * (0.5 + 0.5 * np.sin(4 * across)))
    return Image.fromarray((np.stack(planes, axis=-1) * 255).astype(np.uint8))
