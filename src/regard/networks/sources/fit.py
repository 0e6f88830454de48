"""Weights into a module, loudly: every key and every shape is checked, and what was changed is said."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from regard.errors import NetworkError
from regard.networks.anatomy.anatomy import Anatomy
from regard.networks.anatomy.description import describe
from regard.networks.sources.checkpoint import key_problems


def fit(
    module: nn.Module, tensors: Mapping[str, Tensor], source: object, *, resample: bool = False, headless: bool = False
) -> list[str]:
    """Load `tensors` into `module` and return what there is to say.

    With `resample`, positional embeddings of another grid are interpolated (timm's bicubic resampling); with
    `headless`, a missing head keeps its random values. All else that is missing, extra or of another shape is a
    `NetworkError` that lists the keys. `source` names the weights in messages.
    """
    tensors, messages = dict(tensors), list[str]()
    own, anatomy = module.state_dict(), describe(module)
    if resample and anatomy.positions is not None:
        messages += _resample(tensors, own, anatomy, source)
    if headless and anatomy.head is not None:
        messages += _keep_head(tensors, own, anatomy.head, source)
    problems = key_problems(_differences(tensors, own))
    if problems:
        raise NetworkError(f"the weights of {source} do not fit: {problems}{_advice(tensors, own, anatomy)}")
    module.load_state_dict(tensors)
    return messages


def _resample(tensors: dict[str, Tensor], own: Mapping[str, Tensor], anatomy: Anatomy, source: object) -> Sequence[str]:
    """Bring positional embeddings of another (square) grid to the module's."""
    name, prefix = str(anatomy.positions), anatomy.positions_prefix
    came = tensors.get(name)
    if came is None or anatomy.size is None or came.shape[-1] != own[name].shape[-1]:
        return ()
    rows, columns = anatomy.grid(*anatomy.size)
    if came.shape == own[name].shape:
        return [] if rows == columns else [f"read the positional embeddings of {source} as {rows} × {columns} patches"]
    flat = came.reshape(1, -1, came.shape[-1])  # some tables have no batch, or rows and columns of their own
    side = math.isqrt(flat.shape[1] - prefix)
    if side * side != flat.shape[1] - prefix or own[name].numel() != (prefix + rows * columns) * came.shape[-1]:
        return ()
    resampled = resample_abs_pos_embed(flat, new_size=[rows, columns], old_size=[side, side], num_prefix_tokens=prefix)
    tensors[name] = resampled.reshape(own[name].shape)
    return [f"interpolated the positional embeddings of {source} from {side} × {side} to {rows} × {columns} patches"]


def _keep_head(tensors: dict[str, Tensor], own: Mapping[str, Tensor], head: str, source: object) -> Sequence[str]:
    """Where the weights have no head at all, the module keeps its own."""
    names = [name for name in own if name.startswith(f"{head}.")]
    if not names or any(name in tensors for name in names):
        return ()
    tensors.update({name: own[name] for name in names})
    return [f"{source} has no head; the new one of {len(own[names[0]])} outputs is untrained"]


def _differences(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, list[str]]:
    missing = [name for name in own if name not in tensors]
    extra = [name for name in tensors if name not in own]
    other = [
        f"{name} is {_size(tensors[name])} where {_size(own[name])} is needed"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    return {"missing": missing, "extra": extra, "of another shape": other}


def _advice(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], anatomy: Anatomy) -> str:
    """What to do, where the difference is one that has a remedy."""
    name = str(anatomy.positions)
    if name in tensors and name in own and tensors[name].shape != own[name].shape:
        return "; give the size of picture (--size) that the file is for, or the one to interpolate its positions to"
    if anatomy.head is not None and f"{anatomy.head}.weight" in own and f"{anatomy.head}.weight" not in tensors:
        return "; give the classes (--classes N) for a new head"
    return "; name the architecture that these weights are of"


def _size(tensor: Any) -> str:
    return " × ".join(map(str, tensor.shape)) or "one number"
