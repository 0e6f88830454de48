"""Weights into a module, loudly: every key and every shape is checked, and what was changed is said."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from regard.errors import NetworkError
from regard.networks.anatomy.anatomy import Anatomy
from regard.networks.anatomy.description import describe
from regard.networks.sources.checkpoint import key_problems, listed


def fit(
    module: nn.Module, tensors: Mapping[str, Tensor], source: object, *, resample: bool = False, headless: bool = False
) -> list[str]:
    """Load `tensors` into `module` and return what there is to say.

    With `resample`, positional embeddings of another grid are interpolated (timm's bicubic resampling); with
    `headless`, a missing head keeps its random values. All else that is missing, extra or of another shape is a
    `NetworkError` that lists the keys. `source` names the weights in messages.
    """
    tensors = dict(tensors)
    messages = list[str]()
    state = module.state_dict()
    anatomy = describe(module)
    if resample and anatomy.positions is not None:
        messages += _resample(tensors, state, anatomy, source)
    if headless and anatomy.head is not None:
        messages += _keep_head(tensors, state, anatomy.head, source)
    problems = key_problems(_differences(tensors, state))
    if problems:
        raise NetworkError(f"the weights of {source} do not fit: {problems}{_advice(tensors, state, anatomy)}")
    module.load_state_dict(tensors)
    return messages


EXTRAS = re.compile(
    r"mask_token$|n_averaged$|num_batches_averaged$|(decoder\w*|\w*criterion|\w*loss\w*|queue\w*)(\.|$)"
)
"""What trainers keep beside a network, by the first word of its name: it takes no part in what the network computes."""
FIRST = ("ema", "teacher", "target", "momentum", "encoder_k")
"""Words that begin the names of averaged networks, which are the ones meant for use."""


def taken_out(
    tensors: Mapping[str, Tensor], state: Collection[str], head: str, part: str | None, source: object
) -> tuple[dict[str, Tensor], list[str]]:
    """Those tensors that are the network's (of `state`), without what stands before their names; and what to say.

    Among several copies of the network the averaged one is taken, or that of `part`. What stands beside the network,
    and what trainers are known to keep in it, is left out; all else stays for `fit` to judge.
    """
    counts: dict[str, int] = {}
    for name in tensors:
        for place in (0, *(match.end() for match in re.finditer(r"\.", name))):
            if name[place:] in state and name[place:] != head:
                counts[name[:place]] = counts.get(name[:place], 0) + 1
    most = max(counts.values(), default=0)
    places = [prefix for prefix, count in counts.items() if count >= 0.9 * most and 2 * count >= len(state) - 2]
    if part is not None:
        exact = [prefix for prefix in places if part in prefix.split(".")]
        chosen = exact or [prefix for prefix in places if part in re.split(r"[._]", prefix)]
    else:
        chosen = []
    if not places:
        return dict(tensors), []
    prefix = min(chosen or places, key=lambda place: (-any(word in place for word in FIRST), len(place)))
    messages = []
    if prefix:
        others = listed([other.rstrip(".") for other in places if other != prefix])
        more = f"; it has {others} as well (--weights-part)" if len(places) > 1 else ""
        messages.append(f"took the weights of {source} whose names begin with {prefix!r}{more}")
    taken = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    rest = [name for name in tensors if not name.startswith(prefix)]
    for name in [name for name in taken if name not in state and EXTRAS.match(name)]:
        rest.append(prefix + name)
        del taken[name]
    if rest:
        words = sorted({".".join(name.split(".")[:2]) for name in rest})
        messages.append(f"left out of {source}: {listed(words)} ({len(rest)} entries, no part of the network)")
    return taken, messages


def _resample(
    tensors: dict[str, Tensor], state: Mapping[str, Tensor], anatomy: Anatomy, source: object
) -> Sequence[str]:
    """Interpolate positional embeddings of another (square) grid to the module's."""
    name = str(anatomy.positions)
    prefix = anatomy.positions_prefix
    table = tensors.get(name)
    if table is None or anatomy.size is None or table.shape[-1] != state[name].shape[-1]:
        return ()
    rows, columns = anatomy.grid(*anatomy.size)
    if table.shape == state[name].shape:
        return [] if rows == columns else [f"read the positional embeddings of {source} as {rows} × {columns} patches"]
    flat = table.reshape(1, -1, table.shape[-1])  # some tables have no batch, or rows and columns of their state
    side = math.isqrt(flat.shape[1] - prefix)
    if side * side != flat.shape[1] - prefix or state[name].numel() != (prefix + rows * columns) * table.shape[-1]:
        return ()
    resampled = resample_abs_pos_embed(flat, new_size=[rows, columns], old_size=[side, side], num_prefix_tokens=prefix)
    tensors[name] = resampled.reshape(state[name].shape)
    return [f"interpolated the positional embeddings of {source} from {side} × {side} to {rows} × {columns} patches"]


def _keep_head(tensors: dict[str, Tensor], state: Mapping[str, Tensor], head: str, source: object) -> Sequence[str]:
    """Where the weights have no head at all, the module keeps its own."""
    names = [name for name in state if name.startswith(f"{head}.")]
    if not names or any(name in tensors for name in names):
        return ()
    tensors.update({name: state[name] for name in names})
    return [f"{source} has no head; the new one of {len(state[names[0]])} outputs is untrained"]


def _differences(tensors: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, list[str]]:
    missing = [name for name in state if name not in tensors]
    extra = [name for name in tensors if name not in state]
    other = [
        f"{name} is {_size(tensors[name])} where {_size(state[name])} is needed"
        for name in state
        if name in tensors and tensors[name].shape != state[name].shape
    ]
    return {"missing": missing, "extra": extra, "of another shape": other}


def _advice(tensors: Mapping[str, Tensor], state: Mapping[str, Tensor], anatomy: Anatomy) -> str:
    """What to do, where the difference is one that has a remedy."""
    name = str(anatomy.positions)
    if name in tensors and name in state and tensors[name].shape != state[name].shape:
        return "; give the size of picture (--size) that the file is for, or the one to interpolate its positions to"
    if anatomy.head is not None and f"{anatomy.head}.weight" in state and f"{anatomy.head}.weight" not in tensors:
        return "; give classes in Python, load(..., classes=N), or train it: `regard train DATA --out RUN` makes a head"
    return "; name the architecture that these weights are of"


def _size(tensor: Any) -> str:
    return " × ".join(map(str, tensor.shape)) or "one number"
