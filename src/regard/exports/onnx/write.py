"""The export `onnx`: one file, whose answers are measured against the run's before it is left."""

from pathlib import Path

from regard.exports.onnx.graph import build
from regard.exports.onnx.parity import about, parities
from regard.exports.parity import probes
from regard.exports.settings import ExportSettings
from regard.exports.source import ExportSource
from regard.files import write_file
from regard.records.exported import Exported


def write(source: ExportSource, out: Path, settings: ExportSettings) -> Exported:
    """Write the graph of `source` to the file `out`: see `graph.build`.

    Raises `NetworkError` for a network that cannot be traced, and `OutputError` where onnxruntime's answers are not the
    run's.
    """
    model = build(source, settings)
    parity = parities(source.network, model, probes(source))
    write_file(out, model.SerializeToString())
    return Exported("onnx", out, (out.name,), parity, notes=tuple(about(model)["notes"]))
