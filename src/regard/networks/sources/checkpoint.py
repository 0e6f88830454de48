"""Reading weights that somebody else wrote, without ever running what is in them.

A file is read as safetensors, as NumPy's archive or with `torch.load(weights_only=True)`. What trainers pickle beside
weights (settings, paths, numbers of numpy) becomes an inert object; a pickle that needs more is refused. What they
wrap around a state dict (`state_dict`, `ema`, `module.`) is taken off, and each step is said.
"""

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from regard.errors import NetworkError, unknown
from regard.files import check_local

WRAPPERS = (
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema",
    "teacher",
    "target",
    "momentum",
    "swa",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "weights",
    "params",
    "network",
    "net",
    "backbone",
    "encoder",
    "student",
)
"""Names under which trainers keep a state dict, averaged weights first: those are the ones meant for use."""

NOT_WEIGHTS = re.compile(r"optim|sched|scaler|callback|loop|loss|criterion|hyper|args|config|epoch|rng|queue", re.I)
"""What stands beside the weights under names of these kinds, tensors or not."""

PREFIXES = ("module.", "model.", "ema.", "ema_model.", "network.", "net.")
"""What wrapping modules (DataParallel, Lightning, averaging) put before every key."""

WRAPPING = re.compile(r"(^|\.)(?:_orig_mod|_forward_module|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)")
"""What torch.compile, Fabric, FSDP and checkpointing put into keys, at any depth."""

INERT = frozenset(
    (
        *("accelerate", "addict", "argparse", "box", "collections", "datetime", "decimal", "easydict", "enum"),
        *("lightning", "lightning_fabric", "ml_collections", "mmcv", "mmengine", "numpy", "omegaconf", "pathlib"),
        *("pytorch_lightning", "tensordict", "timm", "torch", "torchvision", "transformers", "typing", "uuid", "yacs"),
    )
)
"""Packages whose objects trainers save beside weights. Nothing of them is imported or called: see `_Inert`."""
_ARRAYS: dict[str, Any] = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    **{f"numpy.{core}.multiarray._reconstruct": np._core.multiarray._reconstruct for core in ("core", "_core")},  # type: ignore[attr-defined]
    **{f"numpy.{core}.multiarray.scalar": np._core.multiarray.scalar for core in ("core", "_core")},  # type: ignore[attr-defined]
}
"""What makes arrays of numpy out of bytes, under its names in both versions."""
_DTYPES = [type(np.dtype(code)) for code in "?bBhHiIlLqQefd"]

_HALF = (torch.float16, torch.bfloat16)
_ZIP = b"PK\x03\x04"
_PICKLES = (_ZIP, b"\x80")
_SAFETENSORS = b"\0\0\0\0{"
"""Bytes 4 to 8: the upper half of the header's length, then its JSON; the lower half may start as a pickle does."""


class _Inert(dict[Any, Any]):
    """What stands for an object of a class that is not loaded: it takes whatever is put into it, and does nothing."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file, by name, as plain CPU tensors in at least float32.

    `modules` are the module paths that torch records in a state dict, or None where the file has no such record;
    `messages` say what had to be unwrapped or converted; `beside` names what was left out, once a layout is recognised.
    """

    path: Path
    tensors: dict[str, Tensor]
    modules: frozenset[str] | None = None
    messages: tuple[str, ...] = field(default=())
    beside: frozenset[str] = frozenset()


def read_checkpoint(path: Path | str, part: str | None = None) -> Checkpoint:
    """Read a checkpoint file; where it holds several networks, the `part` of this name ("teacher", "ema", ...).

    Raises `NetworkError` when it is missing, damaged, unsafe, or has no tensors, and `UsageError` for an unknown part.
    """
    path = Path(path)
    if path.is_dir():
        what = in_parts(path) or f"{path} is a folder; give the file of weights that is in it"
        raise NetworkError(what)
    if path.suffix == ".distcp":
        raise NetworkError(in_parts(path.parent) or f"{path} is a part of a checkpoint whose .metadata is not there")
    if not path.is_file():
        check_local(path, NetworkError)
        raise NetworkError(f"no checkpoint at {path}: there is no such file; check the path")
    content = _read(path)
    messages = list[str]()
    stored = _chosen(content, part, path, messages)
    record = getattr(stored, "_metadata", None)  # torch keeps one entry for each module, and pickles carry it along
    modules = frozenset(map(str, record)) if isinstance(record, Mapping) and record else None
    values = {str(name): torch.from_numpy(value) if _is_array(value) else value for name, value in stored.items()}
    tensors = {name: value.detach() for name, value in values.items() if isinstance(value, Tensor)}
    if not tensors:
        raise NetworkError(f"{path} holds no tensors (it has: {listed(content)}); give a file with a state dict")
    wrapped = [name for name in tensors if WRAPPING.search(name)]
    if wrapped:
        found = sorted({match[0].strip(".") for name in wrapped for match in WRAPPING.finditer(name)})
        messages.append(f"took {', '.join(found)} out of {len(wrapped)} keys")
        tensors = {WRAPPING.sub("", name).removeprefix("."): value for name, value in tensors.items()}
        modules = modules and frozenset(WRAPPING.sub("", name).removeprefix(".") for name in modules)
    tensors, modules = _strip(tensors, modules, messages)
    return Checkpoint(path, _widen(tensors, messages), modules, tuple(messages))


def in_parts(folder: Path) -> str | None:
    """What a folder is that holds one checkpoint in many parts, and how to make one file of it; None for any other.

    Which part holds what stands in a pickle, so that it is not read here.
    """
    name = "--model NAME --weights weights.pth"
    if (folder / ".metadata").is_file() and any(folder.glob("*.distcp")):
        return (
            f"{folder} is a checkpoint of torch.distributed in parts (FSDP); make one file of it where it was written, "
            f"torch.distributed.checkpoint.format_utils.dcp_to_torch_save({str(folder)!r}, 'weights.pth'), and name "
            f"the architecture: {name}"
        )
    if (folder / "zero_to_fp32.py").is_file():
        return (
            f"{folder} is DeepSpeed's checkpoint in parts; make one file of it where it was written, with its own "
            f"zero_to_fp32.py, and name the architecture: {name.replace('weights.pth', 'FILE')}"
        )
    return None


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
    names = _names_in_archive(path) if start.startswith(_ZIP) else []
    if any(name.endswith("/constants.pkl") for name in names):
        raise NetworkError(
            f"{path} is a TorchScript program, which is code and weights in one; save its weights alone, "
            "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth'), and name their architecture: "
            "--model NAME --weights weights.pth"
        )
    if names and all(name.endswith(".npy") for name in names):
        return _read_arrays(path)
    safe = start[4:] == _SAFETENSORS or not start.startswith(_PICKLES)
    stored = _read_safetensors(path) if safe else _read_torch(path)
    if not isinstance(stored, Mapping) or isinstance(stored, _Inert):
        kind = "whole network, pickled with its code" if isinstance(stored, _Inert) else type(stored).__name__
        raise NetworkError(f"{path} holds a {kind}, not a state dict; save `model.state_dict()` and give that file")
    return stored


def _names_in_archive(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []


def _read_arrays(path: Path) -> dict[str, Tensor]:
    """NumPy's archive: arrays by name, and nothing that is pickled."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: np.array(archive[name]) for name in archive.files}
            arrays = {
                name: array.astype(np.float32) if array.dtype == np.float16 else array for name, array in arrays.items()
            }
            names = [
                name for name in arrays if name.endswith("embedding/kernel")
            ]  # of Flax, behind `params/` or another
            prefix = names[0].removesuffix("embedding/kernel") if names else ""
            return {
                name.removeprefix(prefix): torch.from_numpy(array)
                for name, array in arrays.items()
                if name.startswith(prefix) and array.dtype.kind in "biuf"
            }
    except Exception as error:
        raise NetworkError(
            f"{path} is an archive of NumPy that cannot be read ({_first_line(error)}); fetch it again"
        ) from error


def _read_torch(path: Path) -> Any:
    """With `weights_only`, whose list of classes grows by inert ones as the file asks for them, as far as it may."""
    inert: dict[str, Any] = {}
    while True:
        try:
            return _load_weights_only(path, inert)
        except pickle.UnpicklingError as error:
            wanted = re.search(r"(?:GLOBAL|class|type) ([\w.]+)", str(error).partition("Unsupported")[2] or str(error))
            name = wanted[1] if wanted else ""
            if not (name.partition(".")[0] in INERT or name == "types.SimpleNamespace") or name in inert:
                what = f"holds {name}, which" if name else "is a pickle that"
                raise NetworkError(
                    f"{path} {what} would run code when read, so it was refused (a pickle can hold anything); have its "
                    "author save `model.state_dict()` alone, or a .safetensors file"
                ) from error
            inert[name] = _ARRAYS.get(name, _Inert)
        except Exception as error:  # a damaged pickle or archive makes it raise what it likes
            raise NetworkError(
                f"{path} is damaged and cannot be read as a torch checkpoint ({_first_line(error)}); fetch it again"
            ) from error


def _load_weights_only(path: Path, inert: Mapping[str, Any]) -> Any:
    allowed: list[Any] = [*((value, name) for name, value in (_ARRAYS | dict(inert)).items()), *_DTYPES]
    with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
        warnings.simplefilter("ignore")  # about the pickle's age; whether it can be read is what matters
        return torch.load(path, map_location="cpu", weights_only=True)


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


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"


def _chosen(content: Mapping[str, Any], part: str | None, path: Path, messages: list[str]) -> Mapping[str, Any]:
    """The state dict of a file that is meant for use, or the one that `part` names."""
    found = dict(_state_dicts(content))
    if not found:
        return content
    names = [name for name in found if name]
    name = min(found, key=_rank)
    if part is not None:
        named = [each for each in names if part in each.split(".")] or [each for each in names if part in _words(each)]
        named = named or [each for each in found if any(part in _words(str(key)) for key in found[each])]
        if not named:
            begin = {str(key).partition(".")[0] for each in found.values() for key in each if "." in str(key)}
            begin = {word for word in begin if not {word, *_words(word)}.isdisjoint(WRAPPERS)}
            parts = sorted({*names, *begin})
            raise unknown("part of the weights", part, parts, f"{path} has {listed(parts)}.")
        name = min(named, key=_rank)
    if name:
        others = [other for other in names if other != name]
        more = f" (it has {listed(others)} as well: --weights-part)" if others else ""
        messages.extend(f"took the weights under {step!r} of the checkpoint" for step in name.split(".")[:-1])
        messages.append(f"took the weights under {name.split('.')[-1]!r} of the checkpoint{more}")
    return found[name]


def _words(name: str) -> list[str]:
    """The words of a name, with which a part is asked for: `ema` is in `model_ema`."""
    return re.split(r"[._]", name)


def _state_dicts(content: Mapping[Any, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """The mappings of a file, at any depth, that hold tensors of weights, by their path."""
    if any(isinstance(value, Tensor) or _is_array(value) for value in content.values()):
        yield ".".join(path), content
    for name, value in content.items():
        if isinstance(value, Mapping) and len(path) < 4 and not NOT_WEIGHTS.search(str(name)):
            yield from _state_dicts(value, (*path, str(name)))


def _rank(name: str) -> tuple[int, ...]:
    """Averaged weights and teachers before others, at each depth; what stands at no known name last."""
    steps = [{step, *_words(step)} for step in name.split(".")]
    return tuple(min((WRAPPERS.index(word) for word in step if word in WRAPPERS), default=99) for step in steps)


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


def tensors_hash(tensors: Mapping[str, Any], before: bytes = b"") -> str:
    """SHA-256 over names, shapes, types and values, in the order of the names, after the bytes of `before`."""
    digest = hashlib.sha256(before)
    for name, value in sorted(_plain_tensors(tensors)):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _plain_tensors(tensors: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a state, and what stands there in their place where weights are quantised: pairs of weight and
    bias, whole numbers with their scales, types."""
    for name, value in tensors.items():
        if isinstance(value, Tensor) and value.is_quantized:
            yield name, value.int_repr()
            yield f"{name} as floats", value.dequantize()
        elif isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, tuple | list):
            yield from _plain_tensors({f"{name}.{place}": each for place, each in enumerate(value)})
        else:
            yield f"{name} {value}", torch.zeros(0, dtype=torch.uint8)
