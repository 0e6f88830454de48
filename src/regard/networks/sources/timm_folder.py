"""Folders of timm's own, as its `save_for_hf` and the hub have them, or as transformers' wrapper of timm saves them.

Their config.json names the architecture, its arguments, its classes, and how pictures are prepared.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from regard.errors import NetworkError
from regard.networks.anatomy.description import describe
from regard.networks.network import Network
from regard.networks.sources import preparations
from regard.networks.sources.build import TIMM_ARGUMENTS, build, is_timm
from regard.networks.sources.checkpoint import read_checkpoint
from regard.networks.sources.fit import fit
from regard.networks.tasks import SEVERAL_LABELS

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_FLAT = ("mean", "std", "input_size", "classifier", "crop_pct")
"""What stands at the top of folders from before there was `pretrained_cfg`."""
_WRAPPED = "timm_model."


def read_config(folder: Path) -> dict[str, Any] | None:
    """The config.json of a folder of timm's; None where it is another's, or cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        return None
    return config if isinstance(config.get("pretrained_cfg"), dict) or any(name in config for name in _FLAT) else None


def load(folder: Path, config: Mapping[str, Any], model: str, outputs: int | None = None) -> Network:
    """The network of such a folder; without a head it gets a new one of `outputs`.

    Raises `NetworkError` for an architecture that this timm has not, arguments that are no plain ones, and weights that
    are missing or do not fit.
    """
    name = str(config["architecture"])
    if not is_timm(name):
        raise NetworkError(f"{model} is of timm's {name!r}, which this timm has not; install a newer timm")
    path = next((folder / file for file in _WEIGHTS if (folder / file).is_file()), None)
    if path is None:
        raise NetworkError(f"{model} has no weights: it holds none of {', '.join(_WEIGHTS)}; fetch it again")
    settings = dict(config.get("pretrained_cfg") or {each: config[each] for each in config if each != "architecture"})
    given = config.get("model_args") or {}
    strange = sorted(set(given) - TIMM_ARGUMENTS)
    if strange:
        raise NetworkError(
            f"{model} is {name} with {', '.join(strange)} changed, which regard does not build; build it with timm, "
            "and give the module in Python"
        )
    checkpoint = read_checkpoint(path)
    tensors = {key.removeprefix(_WRAPPED): tensor for key, tensor in checkpoint.tensors.items()}
    count = config.get("num_classes", settings.get("num_classes"))
    count = len(config["id2label"]) if count is None and config.get("id2label") else count
    arguments = {**given, **({} if count is None else {"num_classes": int(count)})}
    module: Any = build({"kind": "timm", "name": name, "arguments": arguments})
    head = describe(module).head
    messages = list(checkpoint.messages)
    if head is not None and outputs is not None and not any(key.startswith(f"{head}.") for key in tensors):
        arguments["num_classes"] = outputs
        module = build({"kind": "timm", "name": name, "arguments": arguments})
    messages += fit(module, tensors, path, headless=outputs is not None)
    tuples = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    module.pretrained_cfg = {**module.pretrained_cfg, **tuples}
    try:
        preparation, notes = preparations.timm(module)
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise NetworkError(
            f"{folder / 'config.json'} is damaged ({type(error).__name__}: {error}); fetch it again"
        ) from error
    classes = _classes(config, settings, module)
    architecture = {"kind": "timm", "name": name, "arguments": arguments}
    network = Network(module.eval(), name, architecture, preparation, classes, (*messages, *notes), describe(module))
    network = replace(network, multilabel=config.get("problem_type") == SEVERAL_LABELS)
    return network if model == str(folder) else replace(network, name=model)


def _classes(config: Mapping[str, Any], settings: Mapping[str, Any], module: Any) -> tuple[str, ...] | None:
    """The names of the outputs, where they have as many: timm's, or those of transformers' wrapper."""
    named = next(
        (names for key in ("label_names", "labels") for source in (config, settings) if (names := source.get(key))),
        config.get("id2label"),
    )
    if isinstance(named, Mapping):
        numbers = {int(index): str(name) for index, name in named.items() if str(index).isdecimal()}
        named = [numbers[index] for index in sorted(numbers)] if sorted(numbers) == list(range(len(numbers))) else None
    names = tuple(map(str, named)) if isinstance(named, list | tuple) else ()
    count = getattr(module, "num_classes", None)
    made_up = all(name == f"LABEL_{index}" for index, name in enumerate(names))
    return names if len(names) == count and len(set(names)) == count and not made_up else None
