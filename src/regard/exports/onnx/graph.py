"""The ONNX graph of a network: pixels in; logits, attention rows and maps out. No backward pass, no torch to run it."""

import json
import logging
from typing import TYPE_CHECKING, Any

import torch

from regard.exports.onnx.explained import Explained, plan
from regard.networks.network import Network

if TYPE_CHECKING:
    import onnx

log = logging.getLogger("regard")

OPSET = 20
PIXELS = "pixels"


def build(source: Any, settings: Any) -> "onnx.ModelProto":
    """The graph of what is exported: `pixels` (batch, 3, height, width), prepared, in; out come

    - `logits` (batch, classes);
    - `attention` (batch, layers, heads, patches): softmaxed rows of what the head reads;
    - `map` (batch, classes, rows, columns): `direct_logit` of every class, or, of a network of more classes than
      `ALL_CLASSES`, of the predicted one (batch, 1, rows, columns).

    The batch is any, the size the run's. What a network does not have is left out, and said in `regard.graph`.
    """
    return graph_of(source.network, getattr(settings, "opset", None))


def graph_of(network: Network, opset: int | None = None) -> "onnx.ModelProto":
    """`build` of a network alone."""
    pixels = probe(network)
    found = plan(network, pixels)
    module = Explained(network, found).eval()
    with torch.no_grad():
        program = torch.onnx.export(
            module,
            (pixels,),
            dynamo=True,
            input_names=[PIXELS],
            output_names=module.outputs,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=opset or OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    directions = found.directions
    about = {
        "outputs": module.outputs,
        "layers": list(found.layers),
        "heads": found.heads,
        "grid": list(found.grid),
        "map": None if directions is None else "every class" if directions.every else "predicted class",
        "notes": list(found.notes),
    }
    entry = model.metadata_props.add()
    entry.key = "regard.graph"
    entry.value = json.dumps(about)
    return model


def probe(network: Network, count: int = 2) -> torch.Tensor:
    """(count, 3, height, width): the same noise every time, as large as the network takes it."""
    preparation = network.preparation
    shape = (count, preparation.channels, preparation.height, preparation.width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
