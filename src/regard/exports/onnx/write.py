"""The export `onnx`: one file, whose answers are measured against the run's before it is left."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regard.errors import UsageError
from regard.exports.onnx.graph import build
from regard.exports.onnx.parity import about, parities
from regard.exports.parity import Parity, measured, pictures, probes
from regard.exports.settings import ExportSettings
from regard.exports.source import ExportSource
from regard.files import write_file
from regard.records.exported import Exported

if TYPE_CHECKING:
    import onnx


def write(source: ExportSource, out: Path, settings: ExportSettings) -> Exported:
    """Write the graph of `source` to the file `out`, with all that is known of it in the metadata: see `graph.build`,
    `variants`, `preparation` and `metadata`.

    The graph in 32 bits is what is held against the run; what a variant then costs is measured on `settings.data`.

    Raises `NetworkError` for a network that cannot be traced, `UsageError` for settings that do not go together, and
    `OutputError` where onnxruntime's answers are not the run's.
    """
    from regard.exports.onnx import losses, variants  # late: onnx is an extra
    from regard.exports.onnx.metadata import attach
    from regard.exports.onnx.preparation import prepared

    if settings.prepare and settings.batch not in (None, 1):
        raise UsageError(f"--prepare takes one picture at a time, of any size; leave out --batch {settings.batch}")
    if settings.data is not None and settings.variant == "fp32":
        raise UsageError("--data is what variants are measured on; give --variant fp16 or int8 too, or leave it out")
    scored = losses.pictures_of(source, settings.data)
    whole = build(source, settings)
    parity = parities(source.network, whole, probes(source))
    model = whole
    if settings.variant == "fp16":
        model = variants.fp16(whole)
    elif settings.variant == "int8":
        model = variants.int8(whole, probes(source).numpy() if scored is None else scored.calibration)
    models = {"fp32": whole, settings.variant: model}
    rows = losses.measured(source, models, scored)
    notes = losses.sentences(rows, scored)
    if settings.prepare:
        bare = model
        model = prepared(bare, source.preparation)
        parity = (*parity, _of_raw_pixels(source, bare, model))
    attach(model, source, settings.variant, rows, notes)
    write_file(out, model.SerializeToString())
    variant_rows = rows if settings.variant != "fp32" else ()
    return Exported("onnx", out, (out.name,), parity, variant_rows, (*about(model)["notes"], *notes))


def _of_raw_pixels(source: ExportSource, bare: "onnx.ModelProto", model: "onnx.ModelProto") -> Parity:
    """How far the logits of drawn pictures are that the graph prepares itself from those of what regard prepares."""
    from regard.exports.onnx.runner import Runner

    before = Runner(bare)
    after = Runner(model)
    right = [before(source.preparation.tensor(each)[None].numpy())["logits"][:1] for each in pictures()]
    values = [after(np.asarray(each))["logits"][:1] for each in pictures()]
    return measured("logits of raw pixels", np.concatenate(values), np.concatenate(right))
