"""Reading weights that somebody else wrote, without ever running what is in them.

A file is read as safetensors or with `torch.load(weights_only=True)`; a pickle that needs more is refused. What
trainers wrap around a state dict (`state_dict`, `ema`, `module.`) is taken off, and each step is said.
"""

import hashlib
import pickle
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from regard.errors import NetworkError
from regard.files import check_local

WRAPPERS = (
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "weights",
    "network",
    "net",
)
"""Names under which trainers keep a state dict, averaged weights first: those are the ones meant for use."""

PREFIXES = ("module.", "model.", "_orig_mod.", "ema.", "ema_model.", "network.", "net.")
"""What wrapping modules (DataParallel, Lightning, torch.compile, averaging) put before every key."""

_HALF = (torch.float16, torch.bfloat16)
_PICKLES = (b"PK\x03\x04", b"\x80")
_SAFETENSORS = b"\0\0\0\0{"
"""Bytes 4 to 8: the upper half of the header's length, then its JSON; the lower half may start as a pickle does."""


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file, by name, as plain CPU tensors in at least float32.

    `modules` are the module paths that torch records in a state dict, or None where the file has no such record;
    `messages` say what had to be unwrapped or converted.
    """

    path: Path
    tensors: dict[str, Tensor]
    modules: frozenset[str] | None = None
    messages: tuple[str, ...] = field(default=())


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint file. Raises `NetworkError` when it is missing, damaged, unsafe, or has no tensors."""
    path = Path(path)
    if not path.is_file():
        check_local(path, NetworkError)
        raise NetworkError(f"no checkpoint at {path}: there is no such file; check the path")
    stored, messages = _unwrap(_read(path), [])
    record = getattr(stored, "_metadata", None)  # torch keeps one entry for each module, and pickles carry it along
    modules = frozenset(map(str, record)) if isinstance(record, Mapping) and record else None
    tensors = {str(name): value for name, value in stored.items() if isinstance(value, Tensor)}
    if not tensors:
        raise NetworkError(f"{path} holds no tensors (it has: {listed(stored)}); give a file with a state dict")
    tensors, modules = _strip(tensors, modules, messages)
    return Checkpoint(path, _widen(tensors, messages), modules, tuple(messages))


def read_safetensors(path: Path) -> Checkpoint:
    """The same of a file that can only be safetensors, as all of regard's own are: nothing else is tried."""
    messages = list[str]()
    return Checkpoint(path, _widen(_read_safetensors(path), messages), None, tuple(messages))


def listed(names: Any, limit: int = 8) -> str:
    """Names in one line: all of them, or the first `limit` and how many more there are."""
    names = [str(name) for name in names]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more if names else "nothing"


def key_problems(keys: Mapping[str, Sequence[str]]) -> str:
    """What is wrong with keys ("missing", "extra", ...), in one line; empty where there are none."""
    return "; ".join(f"{len(names)} {what}: {listed(names)}" for what, names in keys.items() if names)


def _read(path: Path) -> Mapping[str, Any]:
    """The content of the file, by what it is rather than by what it is called."""
    with path.open("rb") as file:
        start = file.read(9)
    safe = start[4:] == _SAFETENSORS or not start.startswith(_PICKLES)
    stored = _read_safetensors(path) if safe else _read_torch(path)
    if not isinstance(stored, Mapping):
        raise NetworkError(
            f"{path} holds a {type(stored).__name__}, not a state dict; save `model.state_dict()` and give that file"
        )
    return stored


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle's age; whether it can be read is what matters
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise NetworkError(
            f"{path} is a pickle that would run code when read, so it was refused; "
            "have its author save `model.state_dict()` alone, or a .safetensors file"
        ) from error
    except Exception as error:  # a damaged pickle or archive makes it raise what it likes
        raise NetworkError(
            f"{path} is damaged and cannot be read as a torch checkpoint ({_first_line(error)}); fetch it again"
        ) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return dict(safetensors.torch.load_file(path))
    except Exception as error:  # a damaged header makes it raise what it likes
        raise NetworkError(
            f"{path} cannot be read: it is neither a torch checkpoint nor whole safetensors ({_first_line(error)}); "
            "fetch it again, or give a .safetensors or .pth file"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]


def _unwrap(stored: Mapping[str, Any], messages: list[str]) -> tuple[Mapping[str, Any], list[str]]:
    """Descend through the names that trainers put a state dict under, averaged weights before the last ones."""
    name = next((key for key in WRAPPERS if isinstance(stored.get(key), Mapping)), None)
    if name is None:
        return stored, messages
    messages.append(f"took the weights under {name!r} of the checkpoint")
    return _unwrap(stored[name], messages)


def _strip(
    tensors: dict[str, Tensor], modules: frozenset[str] | None, messages: list[str]
) -> tuple[dict[str, Tensor], frozenset[str] | None]:
    """Take off a prefix that all keys share, again and again; the counter that weight averaging adds goes too."""
    names = [name for name in tensors if name != "n_averaged"]
    prefix = next((prefix for prefix in PREFIXES if names and all(name.startswith(prefix) for name in names)), None)
    if prefix is None:
        return tensors, modules
    messages.append(f"took the prefix {prefix!r} off every key")
    tensors = {name.removeprefix(prefix): tensors[name] for name in names}
    modules = modules and frozenset(name.removeprefix(prefix) for name in modules)
    return _strip(tensors, modules, messages)


def _widen(tensors: dict[str, Tensor], messages: list[str]) -> dict[str, Tensor]:
    """Half precision is a way to store weights, not to compute with them: to float32."""
    half = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values() if tensor.dtype in _HALF})
    if half:
        messages.append(f"converted {' and '.join(half)} weights to float32")
    return {name: tensor.float() if tensor.dtype in _HALF else tensor for name, tensor in tensors.items()}


def tensors_hash(tensors: Mapping[str, Tensor], before: bytes = b"") -> str:
    """SHA-256 over names, shapes, types and values, in the order of the names, after the bytes of `before`."""
    digest = hashlib.sha256(before)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
