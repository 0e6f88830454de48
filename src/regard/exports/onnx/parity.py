"""How far the outputs of a graph, as onnxruntime gives them, are from the run's own."""

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.errors import OutputError
from regard.explanation.pictures.direct_logit import direct_logit
from regard.exports.onnx.graph import ABOUT
from regard.exports.parity import Parity, measured
from regard.networks.attention.trace import trace
from regard.networks.network import Network

if TYPE_CHECKING:
    import onnx


def about(model: "onnx.ModelProto") -> dict[str, Any]:
    """What a graph says of itself."""
    entries = {entry.key: entry.value for entry in model.metadata_props}
    contents: dict[str, Any] = json.loads(entries[ABOUT])
    return contents


def answers(model: "onnx.ModelProto", pixels: Tensor, threads: int = 1) -> dict[str, NDArray[np.float32]]:
    """The outputs of a graph, by name, for pixels (batch, 3, height, width); in batches of its own size, where it has
    one. Raises `OutputError` for a graph that onnxruntime does not take."""
    from regard.exports.onnx.runner import Runner  # late: onnx is an extra

    try:
        runner = Runner(model, threads)
        count = runner.batch or len(pixels)
        padded = torch.cat([pixels, *[pixels[:1]] * (-len(pixels) % count)])
        parts = [runner(part.numpy()) for part in padded.split(count)]
    except Exception as error:  # onnxruntime's own errors have no common class of their own
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise OutputError(
            f"onnxruntime cannot run the graph: {reason}; nothing was written: give another --opset, or --to pt2"
        ) from error
    return {name: np.concatenate([part[name] for part in parts])[: len(pixels)] for name in runner.names}


def parities(network: Network, model: "onnx.ModelProto", pixels: Tensor) -> tuple[Parity, ...]:
    """The difference of each output from the run's, on some pictures: maps of the predicted class and, where the graph
    has all, of the least likely. Raises `OutputError` for one that is too large."""
    outputs = answers(model, pixels)
    logits = network.logits(pixels)
    parity = [measured("logits", outputs["logits"], logits.numpy())]
    layers = about(model)["layers"]
    if "attention" in outputs:
        _, traced = trace(network, pixels, layers=layers, queries="pool")
        rows = [traced.patches(layer)[:, :, 0].flatten(2) for layer in layers]
        parity.append(measured("attention", outputs["attention"], torch.stack(rows, dim=1).float().numpy()))
    if "map" in outputs:
        place = np.arange(len(pixels))
        every = outputs["map"].shape[1] == logits.shape[1]
        for name, classes in (("map", logits.argmax(dim=1)), ("map of the least likely", logits.argmin(dim=1))):
            if name == "map" or every:
                maps = direct_logit(network, pixels, target=classes.tolist())  # type: ignore[arg-type]
                chosen = outputs["map"][place, classes.numpy() if every else 0]
                parity.append(measured(name, chosen, maps.values))
    return tuple(parity)
