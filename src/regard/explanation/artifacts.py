"""Artifact tokens: where they appear, how much attention they draw, and a repair without training.

Some background patches of a vision transformer end up with norms many times that of the others; CLS then looks there
instead of at the picture (Darcet et al., arXiv 2309.16588). A few neurons make them. Moved to one added token, a
register at test time (Jiang et al., arXiv 2506.08010), they leave the patches alone.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.errors import NetworkError
from regard.networks.attention.replay import token_blocks
from regard.networks.attention.trace import layer_count, trace
from regard.networks.edits import applied, mlp_output
from regard.networks.network import Network
from regard.records.display import Readable, Row, Rows, counted, few

OUTLIER = 5.0
"""A patch is an outlier where its norm is more than so many times the median of its picture's patches."""
APPEAR = 5e-4
"""Outliers have appeared in a block where at least this share of all patches are outliers; fewer are chance."""
CANDIDATES = 16
"""Neurons that are tried at most, the most telling first."""
COUNTS = (1, 2, 3, 4, 5, 6, 8, 12, 16)
"""How many of them are tried at once."""
DOMINANT = 0.25
"""Outliers that draw at least this share of a layer's attention are what its maps show, instead of the picture."""
GONE = 0.2
"""Outliers are gone where no more than this share of them is left."""

Batches = Sequence[Tensor]
Advance = Callable[[int], None]


@dataclass(frozen=True, repr=False)
class BlockArtifacts(Row):
    """The outliers among the patches as one block leaves them.

    `share` of all patches, `per_picture` how many; `median` and `largest` norm of patches; `attention`, the share that
    CLS (or what the head reads) pays, in this block, to the places of the outliers behind the last; mean over heads.
    """

    block: int
    share: float
    per_picture: float
    median: float
    largest: float
    attention: float

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.cells().items())

    def cells(self) -> dict[str, str]:
        return {
            "block": str(self.block),
            "outliers a picture": f"{self.per_picture:.2f}",
            "largest / median norm": f"{self.largest / self.median:.1f}" if self.median else "\N{EN DASH}",
            "attention to their places": f"{self.attention:.1%}",
        }


@dataclass(frozen=True, repr=False)
class Artifacts(Readable):
    """Outliers by block. `first` is the block in which they appear, None where they never do; `corners` is the share of
    outliers in the four corner patches, and `even` the share of attention that so many patches would get by chance.
    `places` (pictures, patches) are those whose attention was measured."""

    blocks: tuple[BlockArtifacts, ...]
    first: int | None
    corners: float
    even: float
    places: NDArray[np.bool_]

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", Rows(self.blocks))

    @property
    def dominant(self) -> bool:
        """Whether a map of the last layer's attention shows the outliers rather than the picture."""
        return self.first is not None and self.blocks[-1].attention >= DOMINANT

    def __str__(self) -> str:
        if self.first is None:
            return f"no outliers in {counted(len(self.places), 'picture')}"
        last = self.blocks[-1]
        return (
            f"outliers from block {self.first} on, {last.per_picture:.2f} a picture behind the last, "
            f"which pays {last.attention:.1%} of its attention to them; by chance {self.even:.1%}"
        )


@dataclass(frozen=True, repr=False)
class Trial(Row):
    """So many neurons moved: the share of outliers `left`, the attention that their places still get, and the mean
    Kullback-Leibler divergence of the network's predictions from those before, in nats."""

    neurons: int
    left: float
    attention: float
    divergence: float

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.cells().items())

    def cells(self) -> dict[str, str]:
        shares = {"outliers left": f"{self.left:.1%}", "attention to their places": f"{self.attention:.1%}"}
        return {"neurons": str(self.neurons), **shares, "divergence in nats": f"{self.divergence:.3g}"}


@dataclass(frozen=True, repr=False)
class Repair(Readable):
    """The result of a search: `neurons` (block, neuron), most telling first, and the trials it chose from."""

    before: Artifacts
    neurons: tuple[tuple[int, int], ...]
    trials: tuple[Trial, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "trials", Rows(self.trials))

    def __str__(self) -> str:
        moved = ", ".join(f"{neuron} of block {block}" for block, neuron in self.neurons) or "none"
        return few([f"neurons to move: {moved}", *repr(self.trials).splitlines()])

    @property
    def edit(self) -> dict[str, Any]:
        return {"kind": "registers", "neurons": [list(each) for each in self.neurons]}


def artifacts(network: Network, batches: Batches, places: NDArray[np.bool_] | None = None) -> Artifacts:
    """The outliers of a network on pictures (each batch (n, 3, height, width), prepared).

    `places` (pictures, patches) are those whose share of attention is measured, by default those of the outliers
    behind the last block; give those of another network to see what became of them. Raises `NetworkError` for a network
    without attention that regard knows.
    """
    return _artifacts(network, observe(network, batches), places)


def find_repair(network: Network, batches: Batches, advance: Advance = lambda done: None) -> Repair:
    """The neurons to move, from pictures without labels or masks; none where there are no outliers.

    Neurons of the blocks up to the one where outliers appear are ordered by how much more they answer at outliers than
    elsewhere. The result is the least number of them with which the outliers are gone and their places get no more of
    the attention than chance would give them; where no number does that, the one with which they get least. More than
    that changes the network's predictions, so the number matters. The network is not changed. `advance` is called
    after each trial. Raises `NetworkError` for a network that no token can be added to.
    """
    observation = observe(network, batches)
    before = _artifacts(network, observation)
    if before.first is None:
        return Repair(before, (), ())
    candidates = _candidates(network, batches, observation.outliers[before.first], before.first)
    trials = []
    for count in (count for count in COUNTS if count <= len(candidates)):
        trials.append(_try(network, batches, observation, before, candidates[:count]))
        advance(1)
        if _enough(trials[-1], before):
            break
    good = [trial for trial in trials if trial.left <= GONE]
    if not good:
        return Repair(before, (), tuple(trials))
    chosen = next((trial for trial in good if _enough(trial, before)), min(good, key=lambda trial: trial.attention))
    return Repair(before, tuple(candidates[: chosen.neurons]), tuple(trials))


def repaired(network: Network, edit: dict[str, Any]) -> Network:
    """A copy of the network with the edit made."""
    return applied(replace(network, module=copy.deepcopy(network.module)), [edit])


def _enough(trial: Trial, before: Artifacts) -> bool:
    return trial.left <= GONE and trial.attention <= before.even


@dataclass(frozen=True, repr=False)
class Observation(Readable):
    """What artifact tokens show in, picture by picture: `outliers` (bool) and `norms` (blocks, pictures, patches),
    `attention` (layers, pictures, patches), `logits` (pictures, classes)."""

    outliers: Tensor
    norms: Tensor
    attention: Tensor
    logits: Tensor

    def __str__(self) -> str:
        blocks, pictures, patches = self.outliers.shape
        return f"{blocks} blocks, {counted(pictures, 'picture')}, {patches} patches, {self.outliers[-1].sum()} outliers"


def observe(network: Network, batches: Batches) -> Observation:
    """Norms, outliers and attention of each block, for every picture. Raises as `artifacts`."""
    layer_count(network)
    if not batches:
        raise NetworkError("artifacts are looked for in pictures; give at least one")
    parts = [_measure(network, pixels) for pixels in batches]
    norms, attention = (torch.cat([part[index] for part in parts], dim=1) for index in (0, 1))
    outliers = norms > OUTLIER * norms.median(dim=2, keepdim=True).values
    return Observation(outliers, norms, attention, torch.cat([part[2] for part in parts]))


def _measure(network: Network, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    blocks = len(token_blocks(network))
    logits, traced = trace(network, pixels, layers=range(blocks), queries="pool", also=("norms",))
    patches = traced.rows * traced.columns
    norms = torch.stack([traced.norms[block][:, -patches:] for block in range(blocks)])
    attention = torch.stack([traced.attention[block][..., -patches:].mean(dim=(1, 2)) for block in range(blocks)])
    return norms.cpu(), attention.cpu(), logits.float().cpu()


def _artifacts(network: Network, observation: Observation, places: NDArray[np.bool_] | None = None) -> Artifacts:
    shares = observation.outliers.float().mean(dim=(1, 2)).tolist()
    first = next((block for block, share in enumerate(shares) if share > APPEAR), None)
    outliers = observation.outliers[-1] if first is not None else torch.zeros_like(observation.outliers[-1])
    last = outliers if places is None else torch.from_numpy(places)
    attention = (observation.attention * last).sum(dim=2).mean(dim=1).tolist()
    patches = observation.norms.shape[2]
    blocks = tuple(
        BlockArtifacts(
            block,
            shares[block],
            shares[block] * patches,
            float(observation.norms[block].median()),
            float(observation.norms[block].max()),
            attention[block],
        )
        for block in range(len(shares))
    )
    even = float(last.float().sum(dim=1).mean()) / (patches + network.anatomy.prefix)
    return Artifacts(blocks, first, _in_corners(network, outliers), even, last.numpy())


def _in_corners(network: Network, outliers: Tensor) -> float:
    """The share of outliers (pictures, patches) that lie in one of the four corner patches."""
    rows, columns = network.anatomy.grid(network.preparation.height, network.preparation.width)
    if outliers.shape[1] != rows * columns or not outliers.any():
        return 0.0
    corners = [0, columns - 1, (rows - 1) * columns, rows * columns - 1]
    return float(outliers[:, corners].sum() / outliers.sum())


def _candidates(network: Network, batches: Batches, outliers: Tensor, last: int) -> list[tuple[int, int]]:
    """(block, neuron) of those that answer most at outliers more than elsewhere, in blocks up to `last`."""
    paths = token_blocks(network)[: last + 1]
    at_outliers = [torch.zeros(()) for _ in paths]
    elsewhere = [torch.zeros(()) for _ in paths]
    for pixels, mask in zip(batches, outliers.split([len(pixels) for pixels in batches]), strict=True):
        for block, activations in _activations(network, pixels, paths):
            strength = activations[:, -mask.shape[1] :].abs()  # (pictures, patches, neurons)
            place = mask.to(strength.device)[..., None]  # (pictures, patches, 1)
            at_outliers[block] = at_outliers[block] + (strength * place).sum(dim=(0, 1)).cpu()  # (neurons,)
            elsewhere[block] = elsewhere[block] + (strength * ~place).sum(dim=(0, 1)).cpu()
    contrasts = [a / outliers.sum() - b / (~outliers).sum() for a, b in zip(at_outliers, elsewhere, strict=True)]
    best = [
        (float(value), block, int(neuron))
        for block, scores in enumerate(contrasts)
        for value, neuron in zip(*torch.topk(scores, min(CANDIDATES, len(scores))), strict=True)
    ]
    return [(block, neuron) for _, block, neuron in sorted(best, reverse=True)[:CANDIDATES]]


def _activations(network: Network, pixels: Tensor, paths: Sequence[str]) -> Iterator[tuple[int, Tensor]]:
    """The hidden neurons of each block's MLP, (pictures, tokens, neurons), behind its activation."""
    activations: dict[int, Tensor] = {}

    def record(block: int) -> Callable[..., None]:
        def hook(part: Any, inputs: tuple[Any, ...]) -> None:
            activations[block] = inputs[0]

        return hook

    with network.borrow() as hooks, torch.no_grad():
        for block, path in enumerate(paths):
            part = mlp_output(network.module.get_submodule(path))
            hooks.append(part.register_forward_pre_hook(record(block)))
        network.forward(pixels)
    yield from activations.items()


def _try(
    network: Network, batches: Batches, observation: Observation, before: Artifacts, neurons: Sequence[tuple[int, int]]
) -> Trial:
    changed = repaired(network, {"kind": "registers", "neurons": [list(each) for each in neurons]})
    after = observe(changed, batches)
    share_before, share_after = (each.outliers[before.first :].float().mean() for each in (observation, after))
    places = observation.outliers[-1] if observation.outliers[-1].any() else observation.outliers[before.first or 0]
    attention = (after.attention[before.first :] * places).sum(dim=2).mean()
    original = observation.logits.log_softmax(dim=1)  # (pictures, classes)
    repaired_logits = after.logits.log_softmax(dim=1)
    divergence = (original.exp() * (original - repaired_logits)).sum(dim=1).mean()
    return Trial(len(neurons), float(share_after / share_before), float(attention), float(divergence))
