"""`regard export`: a network, with what is known of it, where people work."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from regard.app import options as opt
from regard.app.options import argument, option
from regard.errors import UsageError
from regard.exports import EXPORTS
from regard.exports.settings import ExportSettings

if TYPE_CHECKING:
    from regard.records.exported import Exported

EXPORT = "Settings of the export (each takes some: docs/exports.md)"


_RUN = argument(
    "A run's folder, a checkpoint file, or a network's name.", metavar="RUN", type=str, complete=opt.complete_models
)
_TO = option(
    f"One of: {', '.join(EXPORTS.names)}.",
    "--to",
    callback=opt.export_kind,
    complete=opt.complete_exports,
    required=True,
)


def export(
    model: Annotated[Any, _RUN],
    out: opt.Out,
    to: Annotated[str, _TO] = "",
    weights: opt.Weights = None,
    weights_part: opt.WeightsPart = None,
    size: opt.Size = None,
    audit: Annotated[
        str | Path | None, option("Folder of an audit of this network, for its card and verdicts.", type=Path | None)
    ] = None,
    variant: Annotated[str, option("How weights are stored: fp32, fp16 or int8.", panel=EXPORT)] = "fp32",
    prepare: Annotated[bool, option("Put the preparation of pictures inside.", "--prepare", panel=EXPORT)] = False,
    opset: Annotated[int | None, option("ONNX's version of operators.", panel=EXPORT, min=1)] = None,
    single: Annotated[bool, option("One file in the place of a folder.", "--single", panel=EXPORT)] = False,
    runtime: Annotated[
        str | Path | None, option("Folder of the runtime that goes along.", panel=EXPORT, type=Path | None)
    ] = None,
    data: Annotated[
        str | Path | None,
        option("Pictures with labels that variants are measured on.", panel=EXPORT, type=Path | None),
    ] = None,
    batch: Annotated[int | None, option("Pictures at once, fixed; by default any number.", panel=EXPORT, min=1)] = None,
    dynamic: Annotated[
        bool, option("Pictures of any height and width that the network takes.", "--dynamic", panel=EXPORT)
    ] = False,
    push_to: Annotated[
        str | None, option("OWNER/NAME on the Hugging Face hub that it goes to as well.", "--push-to", panel=opt.OUTPUT)
    ] = None,
    overwrite: opt.Overwrite = False,
) -> "Exported":
    """Write a network for other tools, with its classes, preparation, card and the verdicts of its audit.

    `to` is a row of EXPORTS. How near the export's answers are to the network's is measured on drawn pictures, and an
    export that is further off than 1e-4, relative to the largest value, is refused. Raises `UsageError` for a setting
    that this export does not understand and a hub without a token, `NetworkError` for a network that cannot be
    expressed so, and `OutputError`.
    """
    from regard.exports.export import check_export, write_export

    if not to:
        raise UsageError(f"to is missing; give one of: {', '.join(EXPORTS.names)}")
    settings = ExportSettings(
        variant=variant,
        prepare=prepare,
        opset=opset,
        single=single,
        runtime=None if runtime is None else Path(runtime),
        data=None if data is None else Path(data),
        batch=batch,
        dynamic=dynamic,
        push_to=push_to,
        overwrite=overwrite,
    )
    check_export(EXPORTS[to], Path(out), settings)
    from regard.exports.source import open_source  # torch is imported when nothing else is wrong

    source = open_source(model, weights=weights, weights_part=weights_part, size=size, audit=audit)
    return write_export(source, to, Path(out), settings)


def as_json(result: "Exported") -> dict[str, Any]:
    return result.as_json()


def as_text(result: "Exported") -> str:
    return str(result)
