"""What stands in the file beside the graph: entries of text by name, which any ONNX runtime reads (`metadata_props`).

regard.card          the model card, Markdown
regard.classes       the names of the outputs in their order (JSON, as all below)
regard.preparation   how a picture becomes the input; where that is called `picture`, the graph does it itself
regard.verdicts      which maps an audit found to hold on this very network, and which not
regard.provenance    where the network came from, and the digest of its weights
regard.variants      what this file's numbers cost: `this`, `rows`, `notes`
regard.graph         what the outputs are
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from regard.data.images.preparation import Preparation
from regard.errors import DataError
from regard.exports.source import ExportSource
from regard.files import json_text, reading
from regard.records import Verdict
from regard.records.exported import Variant

ADVICE = "export it again with `regard export RUN --to onnx --out FILE.onnx`"


@dataclass(frozen=True)
class Metadata:
    """What `read` finds in a file: the entries, taken apart."""

    card: str
    classes: tuple[str, ...]
    preparation: Preparation
    verdicts: tuple[Verdict, ...]
    provenance: dict[str, Any]
    variants: dict[str, Any]
    graph: dict[str, Any]


def attach(
    model: onnx.ModelProto,
    source: ExportSource,
    variant: str = "fp32",
    rows: Sequence[Variant] = (),
    notes: Sequence[str] = (),
) -> None:
    """Put all that is known of `source` into the graph's metadata, in the place of what stood there under these names;
    `rows` are what its `variant` and others were found to cost."""
    entries = {
        "card": source.card("onnx"),
        "classes": json_text(list(source.classes)),
        "preparation": json_text(source.preparation.as_json()),
        "verdicts": json_text([each.as_json() for each in source.verdicts]),
        "provenance": json_text(source.provenance),
        "variants": json_text({"this": variant, "rows": [each.as_json() for each in rows], "notes": list(notes)}),
    }
    names = {f"regard.{name}": text for name, text in entries.items()}
    rest = {entry.key: entry.value for entry in model.metadata_props if entry.key not in names}
    onnx.helper.set_model_props(model, {**rest, **names})


def read(path: Path | str) -> Metadata:
    """The metadata of a file that regard exported; the weights are not looked at.

    Raises `DataError` for a file that is none, or another's.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}; give one that `regard export` wrote")
    with reading(path, ADVICE):
        entries = {entry.key: entry.value for entry in onnx.load(path, load_external_data=False).metadata_props}
    if "regard.classes" not in entries:
        raise DataError(f"{path} is an ONNX graph that regard did not write: it has no regard.classes; {ADVICE}")
    with reading(path, ADVICE):
        texts = {name.removeprefix("regard."): text for name, text in entries.items()}
        return Metadata(
            texts["card"],
            tuple(map(str, json.loads(texts["classes"]))),
            Preparation.from_json(json.loads(texts["preparation"])),
            tuple(map(Verdict.from_json, json.loads(texts["verdicts"]))),
            json.loads(texts["provenance"]),
            json.loads(texts["variants"]),
            json.loads(texts["graph"]),
        )
