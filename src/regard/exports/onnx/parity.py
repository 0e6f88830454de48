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
    found: dict[str, Any] = json.loads(entries[ABOUT])
    return found


def answers(model: "onnx.ModelProto", pixels: Tensor, threads: int = 1) -> dict[str, NDArray[np.float32]]:
    """The outputs of a graph, by name, for pixels (batch, 3, height, width); in batches of its own size, where it has
    one. Raises `OutputError` for a graph that onnxruntime does not take."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        (entry,) = session.get_inputs()
        names = [output.name for output in session.get_outputs()]
        count = entry.shape[0] if isinstance(entry.shape[0], int) else len(pixels)
        short = -len(pixels) % count
        padded = torch.cat([pixels, *[pixels[:1]] * short])
        parts = [session.run(names, {entry.name: part.numpy()}) for part in padded.split(count)]
    except Exception as error:  # onnxruntime's own errors have no common class of their own
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise OutputError(
            f"onnxruntime cannot run the graph: {reason}; nothing was written: give another --opset, or --to pt2"
        ) from error
    each = (np.concatenate(output)[: len(pixels)] for output in zip(*parts, strict=True))
    return dict(zip(names, each, strict=True))


def parities(network: Network, model: "onnx.ModelProto", pixels: Tensor) -> tuple[Parity, ...]:
    """The difference of each output from the run's, on some pictures: maps of the predicted class and, where the graph
    has all, of the least likely. Raises `OutputError` for one that is too large."""
    found = answers(model, pixels)
    logits = network.logits(pixels)
    parity = [measured("logits", found["logits"], logits.numpy())]
    layers = about(model)["layers"]
    if "attention" in found:
        _, traced = trace(network, pixels, layers=layers, queries="pool")
        rows = [traced.patches(layer)[:, :, 0].flatten(2) for layer in layers]
        parity.append(measured("attention", found["attention"], torch.stack(rows, dim=1).float().numpy()))
    if "map" in found:
        place = np.arange(len(pixels))
        every = found["map"].shape[1] == logits.shape[1]
        for name, classes in (("map", logits.argmax(dim=1)), ("map of the least likely", logits.argmin(dim=1))):
            if name == "map" or every:
                maps = direct_logit(network, pixels, target=classes.tolist())  # type: ignore[arg-type]
                chosen = found["map"][place, classes.numpy() if every else 0]
                parity.append(measured(name, chosen, maps.values))
    return tuple(parity)
