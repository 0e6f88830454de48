"""What one forward of a picture shows inside: attention of all layers and heads, strongest keys, the logit lens."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.errors import NetworkError
from regard.explanation.artifacts import OUTLIER
from regard.explanation.pictures.logit_lens import read_tokens, readable_blocks
from regard.networks.attention.recorder import LayerAttention
from regard.networks.attention.replay import token_blocks, watch
from regard.networks.attention.trace import RowReader, attention_rows, layer_count, recording, stream
from regard.networks.guard import lock_of
from regard.networks.network import Network
from regard.records import Float, PatchGrid
from regard.records.inspection import ArtifactTokens, Keys, Lens
from regard.records.quantised import Quantised


@dataclass
class Reading:
    """What one forward of one picture showed; what the network has not is in `absent`, with the reason.

    `rows` are, by layer, (heads, rows, columns) of what the head reads, `patches` (rows, columns, rows, columns) what
    patches read in the last layer that they have queries in.
    """

    logits: Tensor
    rows: dict[int, Float] = field(default_factory=dict)
    patches: Float | None = None
    keys: Keys | None = None
    lens: Lens | None = None
    artifacts: ArtifactTokens | None = None
    absent: dict[str, str] = field(default_factory=dict)

    def arrays(self) -> tuple[dict[str, Quantised], dict[str, tuple[int, ...]]]:
        """The arrays of an inspection, and the layers that their rows are of."""
        arrays = {}
        layers = {}
        if self.rows:
            (usual, _), *_ = Counter(map(len, self.rows.values())).most_common()
            same = {layer: row for layer, row in self.rows.items() if len(row) == usual}
            others = {layer: row.mean(axis=0) for layer, row in self.rows.items() if len(row) != usual}
            arrays["cls"] = Quantised.of(np.stack([*same.values()]))
            layers["cls"] = tuple(same)
            if others:  # a pooling may have another number of heads than the blocks before it
                arrays["cls_mean"] = Quantised.of(np.stack([*others.values()]))
                layers["cls_mean"] = tuple(others)
                self.absent["heads"] = "this layer has another number of heads than the others; their mean is held"
        if self.patches is not None:
            arrays["patches"] = Quantised.of(self.patches)
        return arrays, layers


def read(network: Network, pixels: Tensor, grid: PatchGrid, keys: bool = True) -> Reading:
    """One forward of one picture (1, 3, height, width), watched; without `keys` none are looked for.

    Raises `NetworkError` where the network cannot compute it.
    """
    with lock_of(network.module):
        try:
            layer_count(network)
        except NetworkError as error:
            absent = dict.fromkeys(("cls", "patches", "keys", "lens", "artifacts"), str(error))
            return Reading(network.logits(pixels), absent=absent)
        return _with_attention(network, pixels, grid, keys)


def _with_attention(network: Network, pixels: Tensor, grid: PatchGrid, keys: bool) -> Reading:
    """The attention of all layers, and what goes from block to block."""
    count = len(network.anatomy.attentions)
    last = count - 1 - network.anatomy.readers  # the last one in which patches have queries
    rows = RowReader(network, 1, (grid.rows, grid.columns), None, "pool", frozenset())
    strongest: dict[int, Keys] = {}
    patches: list[Float] = []

    def add(layer: LayerAttention) -> None:
        rows.add(layer)
        _, queries, tokens = layer.shape
        if layer.layer > last or queries != tokens or not (keys or layer.layer == last):
            return
        full = attention_rows(layer, 1, (grid.rows, grid.columns), "all", None, network.anatomy.prefix)
        mean = full.mean(dim=1)[0].cpu().numpy()[-grid.patches :]  # (patches, tokens)
        if layer.layer == last:
            patches.append(mean[:, -grid.patches :])
        else:
            strongest[layer.layer] = Keys.of([layer.layer], mean[None], mean.shape[1] - grid.patches)

    blocks = token_blocks(network)
    with recording(network, range(count), add) as hooks, torch.no_grad():
        outputs = watch(network, hooks, blocks)
        logits = network.forward(pixels)
        while hooks:
            hooks.pop().remove()
        reading = Reading(logits)
        _read_lens(reading, network, pixels, outputs, grid)
    reading.rows = {
        layer: rows.attention[layer][0, :, 0, -grid.patches :].reshape(-1, grid.rows, grid.columns).cpu().numpy()
        for layer in sorted(rows.attention)
    }
    if patches:
        reading.patches = patches[0].reshape(grid.rows, grid.columns, grid.rows, grid.columns)
    else:
        reading.absent["patches"] = f"patches of {network.name} have no queries of their own"
    reading.keys = joined(strongest)
    if reading.keys is None:
        reading.absent["keys"] = "there is no layer before the last" if keys else "they were not asked for"
    if blocks:
        _read_artifacts(reading, outputs[blocks[-1]], grid)
    return reading


def joined(keys: Mapping[int, Keys]) -> Keys | None:
    """The keys of several layers as one record."""
    if not keys:
        return None
    ordered = [keys[layer] for layer in sorted(keys)]
    return Keys(
        tuple(sorted(keys)),
        np.concatenate([each.indices for each in ordered]),
        np.concatenate([each.levels for each in ordered]),
        tuple(value for each in ordered for value in each.highest),
    )


def _read_lens(
    reading: Reading, network: Network, pixels: Tensor, outputs: Mapping[str, Tensor], grid: PatchGrid
) -> None:
    """What each patch's token would be read as behind each block, while the network is borrowed."""
    try:
        paths = readable_blocks(network)
        if any(outputs[path].ndim != 3 for path in paths):
            raise NetworkError(f"the head of {network.name} reads neighbouring tokens together, none alone")
        tokens = torch.cat([outputs[path][:, -grid.patches :] for path in paths])  # (blocks, patches, width)
        best = []
        shares = []
        for logits in read_tokens(network, pixels, tokens, grid.patches):  # (patches, classes)
            share, index = network.probabilities(logits.float()).max(dim=1)
            best.append(index.cpu().numpy())
            shares.append(share.cpu().numpy())
    except NetworkError as error:
        reading.absent["lens"] = str(error)
        return
    inside = {network.anatomy.block_of(layer): layer for layer in range(len(network.anatomy.attentions))}
    layers = [inside.get(path, place) for place, path in enumerate(paths)]
    reading.lens = Lens.of(layers, np.stack(best), np.stack(shares), class_names(network, reading.logits))


def _read_artifacts(reading: Reading, tokens: Tensor, grid: PatchGrid) -> None:
    """The patches with norms far above the others' behind the last block, and what the last layer pays to them."""
    norms: NDArray[np.float32] = stream(tokens)[0, -grid.patches :].float().norm(dim=-1).cpu().numpy()
    places = np.flatnonzero(norms > OUTLIER * np.median(norms))
    if len(places) and reading.rows:
        last = reading.rows[max(reading.rows)].mean(axis=0).ravel()
        reading.artifacts = ArtifactTokens(tuple(places.tolist()), float(last[places].sum()))
    else:
        reading.absent["artifacts"] = "no token of this picture is an artifact"


def class_names(network: Network, logits: Tensor) -> tuple[str, ...]:
    """The names of the outputs, or their numbers."""
    return network.classes or tuple(map(str, range(logits.shape[1])))
