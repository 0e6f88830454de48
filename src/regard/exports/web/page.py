"""The page of a network: its graph, its classes, its preparation, and what an audit found of its maps."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL
import torch

from regard.data.images.preparation import WHOLE
from regard.errors import NetworkError
from regard.explanation import METHODS
from regard.exports import parity
from regard.exports.settings import ExportSettings
from regard.exports.source import ExportSource
from regard.exports.web.runtime import LICENCE, NAME, VERSION, runtime
from regard.exports.web.weights import deflated, halved
from regard.files import write_file
from regard.measurement.ranks import spearman
from regard.networks.cells import cells
from regard.predictors.method_options import MethodOptions, described
from regard.records.exported import Exported, Parity
from regard.rendering.pages.live import LivePage, live_page

if TYPE_CHECKING:
    import onnx

MAPS = {"attention": "attention", "map": "direct_logit"}
"""The graph's outputs that are maps, and the methods that they are of."""
PAGE = "index.html"
FILES = {"runtime": "runtime.bin", "network": "network.bin"}
"""What lies in a folder: the page, and what it fetches beside itself."""
LICENCE_FILE = "runtime-licence.txt"
LARGE = 20e6
"""Bytes of a page from which on it is said that it is large."""
MOST = 400e6
"""Bytes of weights of a network that a browser can hold with room to spare, twice over as text."""
ABSENT = {
    **dict.fromkeys(
        ("patches", "keys", "lens"), "the network in this page gives its answer, CLS's attention and one map"
    ),
    "cls_repaired": "a network in a page is not searched for the neurons that make artifact tokens",
    "curve": "it takes many forwards, and this page makes one",
    "classes": "of so many classes this page holds the likeliest; choose another above",
}


def write(source: ExportSource, out: Path, settings: ExportSettings) -> Exported:
    """Write the page of a network: one file, or a folder of a page and two files that a server gives.

    Raises `NetworkError` for one that does not tell one class a picture, or is too large for a browser.
    """
    from regard.exports.onnx.graph import build
    from regard.exports.onnx.parity import about as graph_about

    _check(source)
    code = runtime(settings.runtime)
    graph = build(source, settings)
    about = graph_about(graph)
    stored, exact = halved(graph)
    near, notes = _measured(source, graph, stored, exact)
    methods, first = _methods(source, about["outputs"])
    rows, columns = about["grid"] or cells(source.network, source.network.blank())
    page = LivePage(
        name=source.name,
        classes=source.classes,
        preparation=_preparation(source),
        input=graph.graph.input[0].name,
        grid={"rows": rows, "columns": columns, "prefix": source.network.anatomy.prefix},
        about={
            "name": source.name,
            "layers": len(source.network.anatomy.attentions),
            "reads": source.network.anatomy.reads,
        },
        layers=about["layers"],
        methods=methods,
        first=first,
        code=code.code,
        licence=LICENCE,
        runtime=deflated(code.wasm),
        network=deflated(stored.SerializeToString()),
        absent={**ABSENT, **({} if methods else {"maps": " ".join(about["notes"]) or "this network gives none"})},
        facts=_facts(source, methods, exact),
        messages=about["notes"],
        provenance=source.provenance,
    )
    if settings.single:
        size = write_file(out, live_page(page)).stat().st_size
    else:
        write_file(out / LICENCE_FILE, LICENCE + "\n")
        write_file(out / FILES["runtime"], page.runtime)
        write_file(out / FILES["network"], page.network)
        size = len(page.runtime) + len(page.network) + write_file(out / PAGE, live_page(page, FILES)).stat().st_size
    notes = [*notes, f"{size / 1e6:.1f} MB" + (", which takes a while to open" if size > LARGE else "")]
    return Exported("web", out, (), near, (), tuple(notes))


def _check(source: ExportSource) -> None:
    network = source.network
    network.check_one_class("a page with the network inside")
    if not network.has_classes or network.outputs < 2:
        raise NetworkError(
            f"{source.name} tells no classes apart, and a page with the network inside says which class a picture is; "
            "train a head of classes on it, or export it to onnx"
        )
    size = 4 * sum(each.numel() for each in network.module.parameters())
    if size > MOST:
        raise NetworkError(
            f"{source.name} has {size / 1e6:,.0f} MB of weights, and a page holds up to {MOST / 1e6:.0f} MB, as a "
            "browser has them twice over; train a smaller network, or show this one with `regard serve`"
        )


def _preparation(source: ExportSource) -> dict[str, Any]:
    """The preparation with the numbers that `Preparation.normalise` multiplies by and takes off, in float32."""
    prepared = source.preparation
    mean = torch.tensor(prepared.mean)
    std = torch.tensor(prepared.std)
    numbers = {"scale": (1 / (255 * std)).tolist(), "shift": (mean / std).tolist()}
    about = {"resized": None, "colours": prepared.colours, **prepared.as_json(), **numbers}
    down_first = int(PIL.__version__.partition(".")[0]) >= 13  # what this Pillow does with tall pictures
    return {**about, "whole": WHOLE, "downFirst": down_first}


def _methods(source: ExportSource, outputs: Collection[str]) -> tuple[list[dict[str, Any]], str | None]:
    """The maps that the graph gives, each with its verdict; and which is shown first: that which an audit supports."""
    methods: list[dict[str, Any]] = []
    for output, name in MAPS.items():
        if output not in outputs:
            continue
        row = METHODS[name]
        settings = described(row, MethodOptions().settings(row, source.network), source.network)
        settings.pop("target", None)
        about = {"method": name, "label": name.replace("_", " "), "description": row.description, "signed": row.signed}
        verdict = _verdict(source, name, settings)
        methods.append({**about, "settings": settings, "verdict": verdict, "output": output})
    supported = [each for each in methods if (each["verdict"] or {}).get("status") == "supported"]
    of_class = [each for each in methods if each["output"] == "map"]
    first = [*supported, *of_class, *methods]
    return methods, first[0]["method"] if first else None


def _verdict(source: ExportSource, method: str, settings: Mapping[str, Any]) -> dict[str, str] | None:
    """What an audit found of a method with these settings, as an inspection has it; the latest."""
    about = json.loads(json.dumps({**settings, "precision": "float32"}))
    for each in reversed(source.verdicts):
        if each.holds_for(method, about, source.provenance["model"]):
            return {"status": each.status, "text": f"measured on {each.n} pictures: {each.why}"}
    return None


def _facts(source: ExportSource, methods: Sequence[Mapping[str, Any]], exact: bool) -> dict[str, str]:
    count = sum(each.numel() for each in source.network.module.parameters())
    top1 = None if source.evaluation is None else source.evaluation.scores.get("top1")
    judged = [f"{each['label']}: {each['verdict']['status']}" for each in methods if each["verdict"]]
    return {
        "Network": f"{source.network.architecture['name']}, {count / 1e6:.1f} million weights",
        "Stored": f"in 16 bits, {'as in the run' if exact else 'rounded from 32'}; computed in 32",
        "Right on": "never evaluated"
        if top1 is None
        else f"{top1.value:.3f} [{top1.low:.3f}, {top1.high:.3f}] of {top1.n}",
        "Audit of its maps": "; ".join(judged) or "none: no verdict",
        "Run by": f"{NAME} {VERSION} (MIT licence)",
    }


def _measured(
    source: ExportSource, graph: "onnx.ModelProto", stored: "onnx.ModelProto", exact: bool
) -> tuple[tuple[Parity, ...], list[str]]:
    """How far the graph is from the network, refused where too far, and what storing it in 16 bits changes."""
    from regard.exports.onnx.parity import answers, parities

    probes = parity.probes(source)
    near = parities(source.network, graph, probes)
    full = answers(graph, probes)
    half = answers(stored, probes)
    if exact:
        near += tuple(parity.measured(f"{name} in 16 bits", half[name], full[name]) for name in half)
        return near, ["its weights are stored in 16 bits without loss"]
    changes = [f"{name} by {parity.relative_difference(half[name], full[name]):.1g}" for name in half]
    correlations = []
    for name in MAPS:
        if name in half:
            patches = math.prod(full[name].shape[-2 if full[name].ndim == 4 else -1 :])
            alike = spearman(half[name].reshape(-1, patches), full[name].reshape(-1, patches))
            correlations.append(float(np.nanmin(alike)))
    order = f"; the order of the patches of its maps stays ({min(correlations):.4f} at least)" if correlations else ""
    return near, [f"16 bits change {', '.join(changes)} of the largest value on {len(probes)} probes{order}"]
