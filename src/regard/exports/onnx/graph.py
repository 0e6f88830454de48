"""The ONNX graph of a network: pixels in; logits, attention rows and maps out. No backward pass, no torch to run it."""

import json
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from regard.errors import NetworkError, OutputError, UsageError
from regard.exports.onnx.explained import Explained, Plan, plan
from regard.exports.settings import ExportSettings
from regard.exports.source import ExportSource
from regard.exports.tracing import stopped_at
from regard.networks.network import Network

if TYPE_CHECKING:
    import onnx

OPSET = 20
"""The first in which torch's `gelu` and `layer_norm` are operators of their own; onnxruntime has it from 1.17 on."""
OPSETS = (18, 23)
PIXELS = "pixels"
ABOUT = "regard.graph"
"""The entry of a graph's metadata that says what it gives, as JSON."""
LARGEST = 2_000_000_000
"""Bytes that one ONNX file may have: protobuf counts them in 31 bits."""


def build(source: ExportSource, settings: ExportSettings) -> "onnx.ModelProto":
    """The graph of what is exported: `pixels` (batch, 3, height, width), prepared, in; out come

    - `logits` (batch, classes);
    - `attention` (batch, layers, heads, patches): softmaxed rows of what the head reads, layer by layer;
    - `map` (batch, classes, rows, columns): `direct_logit` of every class, or, of a network of more classes than
      `explained.ALL_CLASSES`, of the predicted one (batch, 1, rows, columns).

    The batch is any number or the one of `settings`, the size the run's, or with `dynamic` any that the network takes.
    What a network does not have is left out, and said in the metadata `regard.graph`: outputs, layers, heads, grid,
    what the map is of, notes. Raises `NetworkError` for what cannot be traced, `UsageError` for a size that cannot vary
    or an opset that there is not, and `OutputError` for more than one file can hold.
    """
    return graph_of(source.network, settings)


def graph_of(network: Network, settings: ExportSettings | None = None) -> "onnx.ModelProto":
    """`build` of a network alone."""
    settings = settings or ExportSettings()
    opset = settings.opset or OPSET
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise UsageError(f"opset is {opset}; give one from {OPSETS[0]} to {OPSETS[1]}, or leave it out for {OPSET}")
    if settings.dynamic and not network.anatomy.flexible:
        raise UsageError(
            f"{network.name} takes pictures of one size, so that --dynamic cannot be; leave it out, or load a network "
            "built for any size (timm: dynamic_img_size=True)"
        )
    size = sum(tensor.nbytes for tensor in network.module.state_dict().values())
    if size > LARGEST:
        raise OutputError(
            f"{network.name} has {size / 1e9:.1f} GB of weights, and one ONNX file holds {LARGEST / 1e9:.0f}; use --to "
            "pt2"
        )
    contents = plan(network, probe(network))
    module = Explained(network, contents).eval()
    shape: dict[int, Any] = {} if settings.batch else {0: torch.export.Dim("batch")}
    if settings.dynamic:
        shape |= {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    model = exported(network, module, probe(network, settings.batch or 2), shape, opset)
    if not settings.batch and not model.graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        note = "the graph takes one picture at a time: the network counts the pictures that come"
        contents = replace(contents, notes=(*contents.notes, note))
        model = exported(network, module, probe(network, 1), {}, opset)
    _describe(model, module.outputs, contents)
    return model


def exported(
    network: Network, module: Explained, pixels: Tensor, shape: dict[int, Any], opset: int
) -> "onnx.ModelProto":
    """A module as a graph, whose sides in `shape` vary. Raises `NetworkError` where it cannot be traced."""
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own making, and nothing a user could do
            program: Any = torch.onnx.export(
                module,
                (pixels,),
                dynamo=True,
                input_names=[PIXELS],
                output_names=module.outputs,
                dynamic_shapes=(shape,) if shape else None,
                opset_version=opset,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        with torch.no_grad(), stopped_at(network, module):  # once more, to name the part that cannot be traced
            torch.export.export(module, (pixels,), dynamic_shapes=(shape,) if shape else None, strict=False)
        cause = error.__cause__ or error
        reason = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)[:240]
        raise NetworkError(
            f"{network.name} ({type(network.module).__name__}) has a step that ONNX has no operator for: "
            f"{reason.strip()}; nothing was written: use --to pt2"
        ) from error
    model: onnx.ModelProto = program.model_proto
    version = next(entry.version for entry in model.opset_import if not entry.domain)
    if version != opset:
        raise UsageError(
            f"{network.name} needs operators that opset {opset} does not have (its graph has {version}); give --opset "
            f"{version}, or leave it out"
        )
    for (
        node
    ) in model.graph.node:  # torch's notes on its own code: with stacks of calls, so with folders of this machine
        del node.metadata_props[:]
    return model


def _describe(model: "onnx.ModelProto", outputs: list[str], contents: Plan) -> None:
    """Put into the metadata what the graph gives."""
    every = contents.directions is not None and contents.directions.every
    about = {
        "outputs": outputs,
        "layers": list(contents.layers),
        "heads": contents.heads,
        "grid": list(contents.grid),
        "map": None if contents.directions is None else "every class" if every else "predicted class",
        "notes": list(contents.notes),
    }
    entry = model.metadata_props.add()
    entry.key = ABOUT
    entry.value = json.dumps(about)


def probe(network: Network, count: int = 2) -> Tensor:
    """(count, channels, height, width): the same noise every time, as large as the network takes it."""
    preparation = network.preparation
    shape = (count, preparation.channels, preparation.height, preparation.width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
