"""Adapters: what a training learnt beside a network that stayed as it was; opened, the two are one network again.

Of some weights W, W = W₀ + scale · B A is stored as B (out, rank) and A (rank, in) alone: LoRA, Hu et al. 2021, arXiv
2106.09685, section 4.1. What is opened is merged, so that methods, traces and hooks meet the modules that they know.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from regard.data.images.preparation import Preparation
from regard.errors import NetworkError, UsageError
from regard.networks.run import AGAIN, DESCRIPTION, WEIGHTS, check_digest, read_weights, reading_description
from regard.networks.sources.checkpoint import listed
from regard.networks.tasks import MULTILABEL

if TYPE_CHECKING:
    from regard.networks.network import Network

FACTORS = "adapter/"
"""What the names of factors begin with, in a run's file of weights: `adapter/WEIGHT/A` and `adapter/WEIGHT/B`."""
BASE = ("model", "weights", "weights_part", "size", "seed")
"""The arguments of `load` that a run keeps of the network its adapter is of."""


@dataclass(frozen=True)
class Adapter:
    """`factors` are B and A by the names of their weights ("blocks.0.attn.qkv.weight/A"), `learnt` what was trained as
    it is: the head. `base` has what to load (`BASE`), and its "sha256" (its `Network.base_hash`)."""

    base: Mapping[str, Any]
    rank: int
    scale: float
    factors: Mapping[str, Tensor]
    learnt: Mapping[str, Tensor]

    def tensors(self) -> dict[str, Tensor]:
        """What a run stores in the place of all weights."""
        return {**{f"{FACTORS}{name}": value for name, value in self.factors.items()}, **self.learnt}

    def as_json(self) -> dict[str, Any]:
        return {"kind": "lora", "rank": self.rank, "scale": self.scale, "base": dict(self.base)}


def merged(start: Mapping[str, Tensor], factors: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """The weights that have factors, with W₀ of `start`: W₀ + scale · B A.

    Outer products are added one by one in float64, so that the bytes are the same on any machine.
    """
    weights = {}
    for name in sorted({name.rpartition("/")[0] for name in factors}):
        down = factors[f"{name}/A"].cpu().double()  # (rank, in)
        up = factors[f"{name}/B"].cpu().double() * scale  # (out, rank)
        total = start[name].cpu().double()  # (out, in)
        for row, column in zip(down, up.T, strict=True):
            total = total + column[:, None] * row
        weights[name] = total.to(start[name])
    return weights


def open_adapter(
    folder: Path,
    description: Mapping[str, Any],
    weights: Path | None,
    load_base: Callable[[Mapping[str, Any], int], "Network"],
) -> "Network":
    """The network of a run that stores an adapter, merged into its base, which `load_base` loads with so many outputs;
    `weights` is where it is now, if that was given.

    Raises `NetworkError`, in one line, where the base is another or not there, or the run is damaged.
    """
    with reading_description(folder):
        stored = description["adapter"]
        base = {name: stored["base"].get(name) for name in BASE}
        sha256 = str(stored["base"]["sha256"])
        scale = float(stored["scale"])
        classes = tuple(map(str, description["classes"]))
        preparation = Preparation.from_json(description["preparation"])
        architecture = dict(description["architecture"])
    what = weights or base["weights"] or base["model"]
    advice = f"say where it is by --weights, or {AGAIN}"
    try:
        network = load_base(base, len(classes))
    except (NetworkError, UsageError, RecursionError) as error:  # one that is its own base would load without end
        raise NetworkError(
            f"{folder} is an adapter, and its base {what} cannot be loaded: {error}; {advice}"
        ) from error
    if (digest := network.base_hash()) != sha256:
        raise NetworkError(
            f"{folder} is an adapter of other weights than those of {what} (their SHA-256 is {digest[:12]}…, not "
            f"{sha256[:12]}…): merged they would be no network that anybody trained; {advice}"
        )
    tensors = read_weights(folder)
    factors = {name.removeprefix(FACTORS): value for name, value in tensors.items() if name.startswith(FACTORS)}
    learnt = {name: value for name, value in tensors.items() if not name.startswith(FACTORS)}
    values = network.module.state_dict()
    try:
        changed = merged(values, factors, scale) | learnt
        with torch.no_grad():
            for name, value in changed.items():
                if values[name].shape != value.shape:
                    raise ValueError(f"{name} is {tuple(value.shape)}")
                values[name].copy_(value)
    except (KeyError, ValueError, RuntimeError) as error:
        names = listed(sorted(tensors), 3)
        raise NetworkError(
            f"{folder / WEIGHTS} is damaged, or is not the one that {DESCRIPTION} tells of ({error}; it has {names}); "
            f"{AGAIN}"
        ) from error
    if description.get("task") == MULTILABEL:
        network.choose_labels()
    else:
        network.choose_one_class()
    network = replace(
        network, classes=classes, preparation=preparation, architecture=architecture, messages=(), folder=folder
    )
    check_digest(network.weights_hash(), description.get("weights_sha256"), folder / WEIGHTS)
    return network
