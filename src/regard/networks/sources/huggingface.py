"""Image classifiers and encoders in Hugging Face's format: a local folder, or `hf:ID` from the hub (or its cache)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from regard.data.images.preparation import Preparation
from regard.errors import NetworkError
from regard.networks.anatomy.anatomy import pair
from regard.networks.anatomy.description import describe
from regard.networks.network import Network
from regard.networks.sources.build import Architecture
from regard.networks.sources.checkpoint import key_problems, listed
from regard.networks.sources.huggingface_files import PREFIX, folder_of, read_config, read_module
from regard.networks.sources.preparations import HALF, channels_of, with_channels
from regard.networks.sources.processors import preparation_of
from regard.networks.tasks import SEVERAL_LABELS

_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_TOWERS = {"clip": "CLIPVisionModel", "siglip": "SiglipVisionModel", "siglip2": "Siglip2VisionModel"}
"""Networks of pictures and texts, and the class of their part for pictures."""


def load(model: str, outputs: int | None = None, preparation: Preparation | None = None) -> Network:
    """The network of a folder or hub ID; `outputs` allows a checkpoint without a head, which then gets a new one, and
    `preparation` takes the place of the folder's own.

    Without `outputs`, an encoder that has no head (CLIP, DINOv3, MAE, a bare ViT) is loaded as it is: what it gives as
    logits are its pooled features, and that is said. Raises `NetworkError` for a folder that is damaged or no network
    of pictures, keys that are missing or extra, and a hub that cannot be reached.
    """
    folder = folder_of(model)
    config, maker = _recognise(folder, model, outputs)
    module, keys = _from_pretrained(folder, model, config, maker)
    messages = _check_keys(keys, module, model, outputs, maker.saved_by)
    notes: tuple[str, ...] = ()
    if preparation is None:
        preparation, notes = _preparation(folder, module)
    name = model if model.startswith(PREFIX) else folder.name
    if not is_classifier(module):
        messages = (*messages, without_head(name))
    names = class_names(module.config) if is_classifier(module) else None
    named = {**architecture(module), "name": name}
    messages = (*messages, *notes, *several_labels(module, name))
    return Network(module.eval(), name, named, preparation, names, messages, describe(module))


def is_classifier(module: Any) -> bool:
    """Whether a module is one of transformers' image classifiers."""
    kind = type(module)
    return kind.__module__.startswith("transformers.") and "ForImageClassification" in kind.__name__


def is_transformers(module: Any) -> bool:
    """Whether a module is one of transformers' classifiers or encoders, so that a configuration rebuilds it."""
    return is_classifier(module) or str(describe(module).family).startswith("huggingface")


def several_labels(module: Any, name: str) -> tuple[str, ...]:
    """What there is to say of a head whose outputs are no choice of one class."""
    if not is_classifier(module) or module.config.problem_type != SEVERAL_LABELS:
        return ()
    return (f"{name} was trained for several labels at once: each probability is of its own label (sigmoid)",)


def without_head(name: str) -> str:
    """What there is to say of an encoder."""
    return f"{name} has no head: its outputs are the pooled features"


def architecture(module: Any) -> Architecture:
    """The whole configuration as JSON: a run folder needs no other file to build the network again."""
    arguments = json.loads(json.dumps(module.config.to_dict(), default=str))
    arguments.pop("_name_or_path", None)
    arguments.pop("label2id", None)
    if not is_classifier(module):
        arguments["encoder"] = True
    return {"kind": "huggingface", "name": type(module).__name__, "arguments": arguments}


def class_names(config: Any) -> tuple[str, ...] | None:
    """The names of the outputs, or None where they are the LABEL_0, LABEL_1, ... that transformers makes up."""
    names = tuple(str(config.id2label[index]) for index in sorted(config.id2label))
    return None if all(name == f"LABEL_{index}" for index, name in enumerate(names)) else names


@dataclass(frozen=True)
class _Maker:
    """The class that loads a checkpoint, and the name of the class that saved it ("" where the file has none)."""

    kind: Any
    saved_by: str


def _recognise(folder: Path, model: str, outputs: int | None) -> tuple[Any, _Maker]:
    """The configuration and the class to load it with: a classifier where there is a head or `outputs` ask for one."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as CLASSIFIERS

    config = read_config(folder, f"{model} {_PROBLEM}")
    saved_by = str((getattr(config, "architectures", None) or [""])[0])
    classifies = "ForImageClassification" in saved_by or (not saved_by and config.model_type in CLASSIFIERS)
    if not classifies and outputs is None:
        tower = _TOWERS.get(config.model_type)
        if tower is not None:
            config = config.vision_config
        return config, _Maker(getattr(transformers, tower or "AutoModel"), saved_by)
    if not classifies and config.model_type not in CLASSIFIERS:
        raise NetworkError(
            f"{model} ({saved_by}) has no head, and transformers has no classifier of its kind to put one on; leave "
            "`classes` out to explain its pooled features"
        )
    if not classifies:  # else it has its own number
        config.num_labels = outputs
    return config, _Maker(transformers.AutoModelForImageClassification, saved_by)


_PROBLEM = "cannot be loaded as an image classifier or encoder"


def _from_pretrained(folder: Path, model: str, config: Any, maker: _Maker) -> tuple[Any, Mapping[str, list[str]]]:
    """The network with its weights, and their keys."""
    module, keys = read_module(maker.kind, folder, f"{model} {_PROBLEM}", config=config)
    if not is_classifier(module) and any(key.startswith("pooler.") for key in keys["missing"]):
        # a random pooling layer would make random features
        module, keys = read_module(maker.kind, folder, f"{model} {_PROBLEM}", config=config, add_pooling_layer=False)
    if getattr(module, "main_input_name", "") != "pixel_values":
        raise NetworkError(f"{model} is a {type(module).__name__}, which takes no pictures; give a network that does")
    return module, keys


def _check_keys(
    keys: Mapping[str, list[str]], module: nn.Module, model: str, outputs: int | None, saved_by: str
) -> tuple[str, ...]:
    """Every key that the checkpoint lacks or has too many: an error, a case with a message, or nothing."""
    head = describe(module).head or "classifier"
    new_head = [key for key in keys["missing"] if key.startswith(f"{head}.")]
    dropped = _parts_of_others(keys["extra"], module, saved_by)
    messages = []
    if new_head and outputs is not None:
        keys = {**keys, "missing": [key for key in keys["missing"] if key not in new_head]}
        messages.append(f"{model} has no head; the new one of {outputs} outputs is untrained")
    if dropped:
        keys = {**keys, "extra": [key for key in keys["extra"] if key not in dropped]}
        messages.append(f"dropped {listed(dropped)}: {type(module).__name__} has no such part")
    problems = key_problems(keys)
    if problems:
        advice = (
            "; give classes in Python, load(..., classes=N), or train it: `regard train DATA --out RUN` makes a head"
            if new_head and outputs is None
            else ""
        )
        raise NetworkError(f"the weights of {model} do not fit: {problems}{advice}")
    return tuple(messages)


def _parts_of_others(extra: list[str], module: Any, saved_by: str) -> list[str]:
    """Keys of what only the class that saved the checkpoint has: a pooling layer, a decoder, the part that reads."""
    unused = [key for key in extra if "pooler." in key or key.endswith("mask_token")]
    if saved_by == type(module).__name__:
        return unused
    base = getattr(module, module.base_model_prefix, None)
    children = [child for part in (module, base) if isinstance(part, nn.Module) for child in part.named_children()]
    parts = {name for name, child in children if child.state_dict()}
    bare = {key: key.removeprefix(f"{module.base_model_prefix}.").partition(".")[0] for key in extra}
    return [key for key in extra if key in unused or bare[key] not in parts]


def _preparation(folder: Path, module: Any) -> tuple[Preparation, tuple[str, ...]]:
    """What the folder says of its processor; where it says nothing, the picture squashed, and said so."""
    size = describe(module).size
    path = next((folder / name for name in _PROCESSORS if (folder / name).is_file()), None)
    if path is None:
        configured = getattr(module.config, "image_size", None)
        height, width = size or (pair(configured) if configured else (224, 224))
        message = f"{folder.name} has no preprocessor_config.json: assumed squashed pictures with values from -1 to 1"
        assumed = Preparation(height, width, mode="squash", mean=HALF, std=HALF, interpolation="bilinear")
        return with_channels(assumed, channels_of(module), folder.name), (message,)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        stored = dict(stored.get("image_processor", stored))
    except (ValueError, TypeError, AttributeError) as error:
        raise NetworkError(f"{path} is damaged ({type(error).__name__}: {error}); fetch it again") from error
    channels = channels_of(module)
    preparation, messages = preparation_of(stored, str(module.config.model_type), folder.name, channels)
    return _at_own_size(with_channels(preparation, channels, folder.name), module, folder.name, messages)


def _at_own_size(
    preparation: Preparation, module: nn.Module, name: str, messages: tuple[str, ...]
) -> tuple[Preparation, tuple[str, ...]]:
    """The preparation at the size that the network takes, where that is one and another."""
    anatomy = describe(module)
    given = (preparation.height, preparation.width)
    if anatomy.size in (None, given) or anatomy.flexible:
        return preparation, messages
    message = (
        f"{name}'s image processor gives {given[0]} × {given[1]} pixels where its network takes {anatomy.size[0]} × "
        f"{anatomy.size[1]}: pictures are prepared at that size"
    )
    return preparation.at_size(*anatomy.size), (*messages, message)
