"""The model card: what a stranger needs to know of a network before using it, as the hub shows it."""

from typing import TYPE_CHECKING

from regard.files import json_text, readable

if TYPE_CHECKING:
    from regard.exports.source import ExportSource


def card(source: "ExportSource") -> str:
    """Markdown with the hub's front matter; what was never measured is said to be so."""
    tags = "".join(f"- {tag}\n" for tag in ("regard", "vision-transformer"))
    front = f"---\npipeline_tag: image-classification\ntags:\n{tags}---\n"
    prepared = source.preparation
    evaluation = source.evaluation
    scores = (
        ["It was never evaluated: nothing is known of how often it is right."]
        if evaluation is None
        else [f"- {name}: {score}" for name, score in evaluation.scores.items()]
    )
    verdicts = [f"- {verdict}" for verdict in source.verdicts] or ["It was never audited: no map of it has a verdict."]
    lines = [
        f"# {readable(source.name)}",
        f"A network for {source.task}, of architecture {source.network.architecture['name']}.",
        f"Classes ({len(source.classes)}): {json_text(list(source.classes))}",
        f"Pictures: {prepared.width} × {prepared.height} pixels, {prepared.mode}, {prepared.interpolation}, "
        f"mean {list(prepared.mean)}, std {list(prepared.std)}.",
        "## What it is right on",
        "\n".join(scores),
        "## Which map to believe",
        "\n".join(verdicts),
    ]
    return readable(front + "\n" + "\n\n".join(lines) + "\n")
