"""Image classifiers in Hugging Face's format: a local folder, or `hf:ID` from the hub (or from its cache).

transformers fills what a checkpoint lacks with random values and goes on; here every key is accounted for.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import nn

from regard.data.pixels import Preparation
from regard.errors import NetworkError
from regard.networks import hub
from regard.networks.anatomy import describe
from regard.networks.build import Architecture
from regard.networks.checkpoint import listed
from regard.networks.network import Network
from regard.networks.preparations import HALF

PREFIX = "hf:"
_WANTED = ["*.json", "*.safetensors"]
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_FAILURES = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError)


def is_huggingface(model: str) -> bool:
    """Whether M is `hf:ID` or a folder with a Hugging Face configuration."""
    return model.startswith(PREFIX) or (Path(model) / "config.json").is_file()


def load(model: str, outputs: int | None = None) -> Network:
    """The classifier of a folder or hub ID; `outputs` allows a checkpoint without a head, which then gets a new one.

    Raises `NetworkError` for a folder that is damaged or no image classifier, keys that are missing or extra, and a
    hub that cannot be reached.
    """
    folder = _folder(model)
    module, info = _from_pretrained(folder, model, outputs)
    messages = _account(info, module, model, outputs)
    preparation, said = _preparation(folder, module)
    messages = (*messages, *said)
    name = model if model.startswith(PREFIX) else folder.name
    found = {**architecture(module), "name": name}
    return Network(module.eval(), name, found, preparation, class_names(module.config), messages, describe(module))


def is_classifier(module: Any) -> bool:
    """Whether a module is one of transformers' image classifiers."""
    kind = type(module)
    return kind.__module__.startswith("transformers.") and "ForImageClassification" in kind.__name__


def architecture(module: Any) -> Architecture:
    """The whole configuration as JSON: a run folder needs no other file to build the network again."""
    arguments = json.loads(json.dumps(module.config.to_dict(), default=str))
    arguments.pop("_name_or_path", None)
    arguments.pop("label2id", None)
    return {"kind": "huggingface", "name": type(module).__name__, "arguments": arguments}


def class_names(config: Any) -> tuple[str, ...] | None:
    """The names of the outputs, or None where they are the LABEL_0, LABEL_1, ... that transformers makes up."""
    names = tuple(str(config.id2label[index]) for index in sorted(config.id2label))
    made_up = all(name == f"LABEL_{index}" for index, name in enumerate(names))
    return None if made_up else names


def _folder(model: str) -> Path:
    """The local folder of M, fetched where it must be and the hub answers."""
    name = model.removeprefix(PREFIX)
    if (Path(name) / "config.json").is_file():
        return Path(name)
    if not model.startswith(PREFIX) or Path(name).is_dir():
        raise NetworkError(f"{name} is no Hugging Face network: it has no config.json; give the folder that has it")
    fetched = _cached(name)
    if fetched is None:
        hub.require_hub(f"{model} from the Hugging Face hub")
        fetched = _fetch(name)
    return fetched


def _cached(name: str) -> Path | None:
    try:
        folder = Path(huggingface_hub.snapshot_download(name, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except (HFValidationError, OSError, ValueError) as error:
        raise NetworkError(
            f"{name!r} is no ID of the Hugging Face hub; give hf:OWNER/NAME, or a local folder"
        ) from error
    whole = (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
    return folder if whole else None


def _fetch(name: str) -> Path:
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=_WANTED))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise NetworkError(f"hf:{name} could not be fetched: {reason}; check the ID, or your access to it") from error


def _from_pretrained(folder: Path, model: str, outputs: int | None) -> tuple[nn.Module, Mapping[str, Any]]:
    from transformers import AutoConfig, AutoModelForImageClassification

    with _quiet():
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            if outputs is not None and not _has_head(folder):
                config.num_labels = outputs
            module, info = AutoModelForImageClassification.from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except _FAILURES as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise NetworkError(f"{model} cannot be loaded as an image classifier: {reason}") from error
    return module, info


def _has_head(folder: Path) -> bool:
    """Whether the configuration was saved by a classifier (a bare encoder's gets a head of two outputs else)."""
    stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return any("ForImageClassification" in name for name in stored.get("architectures") or ())


def _account(info: Mapping[str, Any], module: nn.Module, model: str, outputs: int | None) -> tuple[str, ...]:
    """Every key that the checkpoint lacks or has too many: an error, a known case that is said, or nothing."""
    head = describe(module).head or "classifier"
    missing, extra = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    other = [str(key[0] if isinstance(key, tuple) else key) for key in info.get("mismatched_keys", ())]
    new_head = [key for key in missing if key.startswith(f"{head}.")]
    pooler = [key for key in extra if "pooler." in key]
    messages = []
    if new_head and outputs is not None:
        missing = [key for key in missing if key not in new_head]
        messages.append(f"{model} has no head; the new one of {outputs} outputs is untrained")
    if pooler:
        extra = [key for key in extra if key not in pooler]
        messages.append(f"dropped {listed(pooler)}: a classifier has no pooling layer")
    found = (("missing", missing), ("extra", extra), ("of another shape", other))
    problems = [f"{len(keys)} {what}: {listed(keys)}" for what, keys in found if keys]
    if problems:
        advice = "; give the classes (--classes N) for a new head" if new_head and outputs is None else ""
        raise NetworkError(f"the weights of {model} do not fit: {'; '.join(problems)}{advice}")
    return tuple(messages)


def _preparation(folder: Path, module: nn.Module) -> tuple[Preparation, tuple[str, ...]]:
    """What `preprocessor_config.json` says; where there is none, ImageNet's with the picture squashed, and said so."""
    height, width = describe(module).size or (224, 224)
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        message = f"{folder.name} has no preprocessor_config.json: assumed squashed pictures with values from -1 to 1"
        return Preparation(height, width, mode="squash", mean=HALF, std=HALF, interpolation="bilinear"), (message,)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return _from_processor(stored, height, width), ()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NetworkError(f"{path} is damaged ({type(error).__name__}: {error}); fetch it again") from error


def _from_processor(stored: Mapping[str, Any], height: int, width: int) -> Preparation:
    """A crop where the processor crops (short side first), else the whole picture squashed."""
    size = stored.get("size") or {}
    short = size if isinstance(size, int) else size.get("shortest_edge")
    cropped = bool(stored.get("do_center_crop")) and short is not None
    return Preparation(
        height,
        width,
        mode="crop" if cropped else "squash",
        crop=min(1.0, min(height, width) / short) if cropped and short else 1.0,
        mean=tuple(stored.get("image_mean") or (0.5, 0.5, 0.5)),
        std=tuple(stored.get("image_std") or (0.5, 0.5, 0.5)),
        interpolation=_RESAMPLING.get(stored.get("resample", 2), "bilinear"),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers' reports and bars off, as what they say is checked here; put back afterwards."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
