"""A folder in timm's own form: `timm.create_model("local-dir:FOLDER", pretrained=True)`, or `hf-hub:` once pushed.

transformers opens the same folder, through its wrapper of timm.
"""

from pathlib import Path
from typing import Any

import safetensors.torch
import timm
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from regard.data.images.preparation import Preparation
from regard.errors import NetworkError
from regard.exports.round_trip import OTHERS, check_weights, owner, same_inputs, same_logits
from regard.exports.settings import ExportSettings
from regard.exports.source import ExportSource
from regard.files import write_file, write_json
from regard.networks.tasks import SEVERAL_LABELS
from regard.records import Exported

_STORED = ("first_conv", "classifier", "license", "interpolation_mode")
"""What timm must know of an architecture to put other weights or a head into it."""


def write(source: ExportSource, out: Path, settings: ExportSettings) -> Exported:
    """`config.json` and `model.safetensors` in the folder `out`, opened again by timm and held against the network.

    Raises `NetworkError` for a network that is not timm's, or of which more than weights was changed, and for a
    preparation that timm does not have.
    """
    check_weights(source)
    write_folder(source, out)
    module = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    transform = create_transform(**resolve_model_data_config(module), is_training=False)
    return Exported("timm", out, (), (same_logits(source, module), same_inputs(source, transform, "timm")))


def write_folder(source: ExportSource, out: Path) -> None:
    """The two files. Raises `NetworkError` for an architecture that is not timm's."""
    network = source.network
    kind = network.architecture.get("kind")
    if kind != "timm":
        other = "`--to hf` takes it; " if kind == "huggingface" else ""
        raise NetworkError(f"{source.name} is {owner(source)}, which timm cannot build; {other}{OTHERS}")
    module: Any = network.module
    arguments = {key: value for key, value in network.architecture["arguments"].items() if key != "num_classes"}
    stored = getattr(module, "pretrained_cfg", None) or {}
    config = {
        "architecture": str(network.architecture["name"]).partition(".")[0],
        "num_classes": len(source.classes),
        "num_features": int(module.num_features),
        "label_names": list(source.classes),
        **({"problem_type": SEVERAL_LABELS} if network.several_labels else {}),
        **({"model_args": arguments} if arguments else {}),
        "pretrained_cfg": {
            **{name: stored[name] for name in _STORED if stored.get(name) is not None},
            **_prepared(source.preparation, source.name),
            "num_classes": len(source.classes),
            "fixed_input_size": bool(stored.get("fixed_input_size", True)),
        },
    }
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
    write_file(out / "model.safetensors", safetensors.torch.save(tensors, metadata={"format": "pt"}))
    write_json(out / "config.json", config)


def _prepared(preparation: Preparation, name: str) -> dict[str, Any]:
    """The preparation in timm's words. Raises `NetworkError` for one that timm does not have."""
    squashed = preparation.mode == "squash" and preparation.resized is None
    cropped = preparation.mode == "crop" and preparation.resized is None
    if not (squashed or cropped) or preparation.colours != "RGB":
        raise NetworkError(f"{name} prepares its pictures in a way that timm cannot: {preparation.as_json()}; {OTHERS}")
    return {
        "input_size": [preparation.channels, preparation.height, preparation.width],
        "interpolation": preparation.interpolation,
        "crop_pct": 1.0 if squashed else preparation.crop,
        "crop_mode": "squash" if squashed else "center",
        "mean": list(preparation.mean),
        "std": list(preparation.std),
    }
