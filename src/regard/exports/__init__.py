"""What leaves regard: a network with its classes, its preparation and what is known of it, where people work.

A row of EXPORTS is called as `write(source, out, settings)` with an `ExportSource`, a place that is this export's
alone, and `ExportSettings`; it writes one file at `out`, or fills the folder `out`, and returns a `records.Exported`.
Whatever it raises leaves nothing behind: `export.write_export` moves what is whole to its place, a folder with the card
inside.

    settings.py   ExportSettings: all settings of all exports
    source.py     ExportSource: a network and what is known of it, opened once
    parity.py     how far an export's answers are from the network's, refused where too far
    export.py     checks, writes aside, measures, moves to its place
    tracing.py    a forward pass as a graph; what cannot be traced is named
    round_trip.py another library's logits and inputs, held against the network's
    card/         the model card
    coco.py       maps as regions of a COCO file, which is no row: it is of results
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from regard.errors import UsageError
from regard.registry import Described, Table

if TYPE_CHECKING:
    from regard.exports.settings import ExportSettings


@dataclass(frozen=True, repr=False)
class Export(Described):
    """A row of EXPORTS, as data alone: what an export is, and what it understands.

    `extra` is the one of regard's extras that it needs ("onnx"), `suffix` the ending of its file, "" of a folder;
    `single` is that of the one file that the setting of this name asks for.
    """

    name: str
    target: str  # "module:function"
    description: str
    settings: tuple[str, ...] = ()  # of `ExportSettings`
    extra: str = ""
    suffix: str = ""
    single: str = ""

    def ending(self, settings: "ExportSettings") -> str:
        """The ending of the one file that is written; "" where it is a folder."""
        return self.single if settings.single else self.suffix

    def check(self, settings: "ExportSettings") -> None:
        """Raise `UsageError` for a setting that this export does not understand."""
        for name in settings.chosen():
            if name not in self.settings:
                takes = ", ".join(f"--{each.replace('_', '-')}" for each in self.settings) or "none of these settings"
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"--to {self.name} has no use for {option} and takes {takes}; leave {option} out")


EXPORTS: Table[Export] = Table(
    "export",
    (
        Export(
            name="onnx",
            target="regard.exports.onnx.write:write",
            description="an ONNX graph that gives logits, attention rows and the map of every class",
            settings=("variant", "prepare", "data", "opset", "batch", "dynamic"),
            extra="onnx",
            suffix=".onnx",
        ),
        Export(
            name="hf",
            target="regard.exports.huggingface:write",
            description="a folder for transformers: AutoModelForImageClassification, its image processor and pipelines",
        ),
        Export(
            name="timm",
            target="regard.exports.timm_folder:write",
            description="a folder for timm: create_model('local-dir:FOLDER', pretrained=True)",
        ),
        Export(
            name="pt2",
            target="regard.exports.torch_export:write",
            description="a graph of torch's own, which torch.export.load opens alone",
            settings=("batch", "dynamic"),
            suffix=".pt2",
        ),
        Export(
            name="web",
            target="regard.exports.web.page:write",
            description="a page with the network inside, which says in a browser what it sees and where it looks",
            settings=("single", "runtime"),
            extra="onnx",
            single=".html",
        ),
    ),
    "regard.exports",
    "see docs/exports.md.",
)

register_export = EXPORTS.register
