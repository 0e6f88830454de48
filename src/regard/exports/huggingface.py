"""A folder for transformers: `AutoModelForImageClassification.from_pretrained(FOLDER)` and `AutoImageProcessor`.

Networks of transformers are saved as its own; those of timm as timm saves them, which transformers opens by its wrapper
of timm: so the picture is prepared by timm's own steps, to the pixel, which no processor of transformers does.
"""

import copy
from pathlib import Path
from typing import Any

import torch

from regard.data.images.preparation import Preparation
from regard.errors import NetworkError
from regard.exports import timm_folder
from regard.exports.round_trip import OTHERS, check_weights, owner, same_inputs, same_logits
from regard.exports.settings import ExportSettings
from regard.exports.source import ExportSource
from regard.files import write_json
from regard.networks.sources.huggingface_files import quiet
from regard.networks.tasks import SEVERAL_LABELS
from regard.records import Exported

_RESAMPLING = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
PROCESSOR = "ViTImageProcessor"
"""Does what its settings say, and nothing else."""
_BACKEND = (
    "transformers prepares pictures to the pixel with AutoImageProcessor.from_pretrained(FOLDER, backend='pil'); its "
    "own choice, by torchvision, is a grey level off here and there"
)
_WRAPPED = "transformers opens it by its wrapper of timm, which must be installed there"


def write(source: ExportSource, out: Path, settings: ExportSettings) -> Exported:
    """`config.json`, `model.safetensors` and the processor in the folder `out`, opened again by transformers.

    Raises `NetworkError` for a network that transformers cannot build, or of which more than weights was changed, and
    for a preparation that no image processor has.
    """
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    check_weights(source)
    kind = str(source.network.architecture.get("kind"))
    wrapped = kind == "timm"
    if kind == "huggingface":
        _write_model(source, out)
    elif wrapped:
        timm_folder.write_folder(source, out)
    else:
        raise NetworkError(f"{source.name} is {owner(source)}, which transformers cannot build; {OTHERS}")
    with quiet():
        module: Any = AutoModelForImageClassification.from_pretrained(
            out, local_files_only=True, dtype=torch.float32
        ).eval()
        resizes = not wrapped and source.preparation.mode != "centre"
        backend = {"backend": "pil"} if resizes else {}
        processor = AutoImageProcessor.from_pretrained(out, local_files_only=True, **backend)
    grey = source.preparation.channels == 1
    inputs = same_inputs(
        source, lambda each: processor(each.convert("L") if grey else each)["pixel_values"][0], "transformers"
    )
    parity = (same_logits(source, lambda x: module(pixel_values=x).logits), inputs)
    return Exported("hf", out, (), parity, notes=((_WRAPPED,) if wrapped else (_BACKEND,) if resizes else ()))


def _write_model(source: ExportSource, out: Path) -> None:
    """A network of transformers, with the names of the classes in its configuration, which stays as it is here."""
    module: Any = source.network.module
    with quiet():
        module.save_pretrained(out)
    config = copy.deepcopy(module.config)
    config.id2label = dict(enumerate(source.classes))
    config.label2id = {name: index for index, name in enumerate(source.classes)}
    config.problem_type = SEVERAL_LABELS if source.network.several_labels else config.problem_type
    config.architectures = [type(module).__name__]
    config.save_pretrained(out)
    write_json(out / "preprocessor_config.json", _processor(source.preparation, source.name))


def _processor(preparation: Preparation, name: str) -> dict[str, Any]:
    """The preparation as the settings of an image processor. Raises `NetworkError` for one that none has."""
    resized = preparation.resized
    short = resized is not None and resized[0] == resized[1]
    fits = {"centre": True, "squash": True, "crop": short}[preparation.mode]
    if not fits or preparation.colours == "BGR":
        raise NetworkError(
            f"{name} prepares its pictures in a way that no image processor of transformers does: "
            f"{preparation.as_json()}; {OTHERS}"
        )
    output = {"height": preparation.height, "width": preparation.width}
    whole = output if resized is None else {"height": resized[0], "width": resized[1]}
    crops = preparation.mode != "squash" or resized is not None
    return {
        "image_processor_type": PROCESSOR,
        "do_resize": preparation.mode != "centre",
        "size": {"shortest_edge": resized[0]} if preparation.mode == "crop" and resized is not None else whole,
        "resample": _RESAMPLING[preparation.interpolation],
        "do_center_crop": crops,
        **({"crop_size": output} if crops else {}),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preparation.mean),
        "image_std": list(preparation.std),
    }
