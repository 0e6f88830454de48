"""Folders in Hugging Face's format, by path or from the hub, and a module of transformers with every key accounted for.

transformers fills what a checkpoint lacks with random values and goes on; here a caller gets the keys, and refuses.
Everything comes from its own `from_pretrained` on a local folder: a hub is asked only for what was not fetched before.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from regard.errors import NetworkError
from regard.networks.sources import hub
from regard.networks.sources.foreign import open_clip

PREFIX = "hf:"
_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]  # weights, settings, vocabularies
_FAILURES = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError)


def is_huggingface(model: str) -> bool:
    """Whether M is `hf:ID` or a folder with a Hugging Face configuration."""
    return model.startswith(PREFIX) or _has_config(Path(model))


def _has_config(folder: Path) -> bool:
    """Hugging Face's, timm's or open_clip's: all lie on the hub."""
    return any((folder / name).is_file() for name in ("config.json", open_clip.CONFIG))


def folder_of(model: str) -> Path:
    """The local folder of M, fetched where it must be and the hub answers. Raises `NetworkError`."""
    name = model.removeprefix(PREFIX)
    if _has_config(Path(name)):
        return Path(name)
    if not model.startswith(PREFIX) or Path(name).is_dir():
        raise NetworkError(f"{name} is no Hugging Face network: it has no config.json; give the folder that has it")
    folder = hub.cached_folder(name)
    if folder is not None and _has_config(folder) and any(folder.glob("*.safetensors")):
        return folder
    return hub.fetch_folder(name, _PATTERNS)


def read_config(folder: Path, problem: str) -> Any:
    """The configuration of a folder; `problem` begins the error where it cannot be read, as in `failures_of`."""
    import transformers

    with quiet(), failures_of(problem):
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def read_module(kind: Any, folder: Path, problem: str, **arguments: Any) -> tuple[Any, Mapping[str, list[str]]]:
    """A module of transformers' class `kind` in float32, and its keys: "missing", "extra", "of another shape"."""
    with quiet(), failures_of(problem):
        module, info = kind.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
            **arguments,
        )
    mismatched = [str(key[0] if isinstance(key, tuple) else key) for key in info.get("mismatched_keys", ())]
    keys = {"missing": sorted(info["missing_keys"]), "extra": sorted(info["unexpected_keys"])}
    return module, {**keys, "of another shape": mismatched}


@contextmanager
def failures_of(problem: str) -> Iterator[None]:
    """Whatever transformers raises, in one line: `problem` ("the weights of X cannot be loaded") and its reason."""
    try:
        yield
    except _FAILURES as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise NetworkError(f"{problem}: {reason}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """transformers' reports and bars off, as what they say is checked here; put back afterwards."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
