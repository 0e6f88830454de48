"""The page with a network inside: a picture is dropped, and the network in the page says what it sees, and where."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regard.rendering.pages import views
from regard.rendering.pages.inspections import SCRIPTS, STYLES
from regard.rendering.pages.shell import INSIDE, render, resource, shell

WORKER = ("live/inside/prepare.js", "live/inside/worker.js")
"""What runs in the worker, behind the runtime."""
MOST_CLASSES = 40
"""Of more classes the reader chooses one, rather than have the maps of all at hand."""
CODE = "inside-code"


@dataclass(frozen=True)
class LivePage:
    """What a page with a network inside shows, and the network.

    `runtime` and `network` are deflated without a frame; `code` is the runtime's script, which leaves it in `ort`,
    under this `licence`, whose text goes along.
    `preparation` is the network's, with the `scale` and `shift` of its values; `input` what the graph calls pictures.
    `layers` are those that the graph gives attention of;
    `methods` are the maps that the graph gives, each as an inspection has it, with the `output` that it is made of;
    `first` names the one that is shown first. `facts` and `provenance` stand at the foot, `messages` at the top.
    """

    name: str
    classes: Sequence[str]
    preparation: Mapping[str, Any]
    input: str
    grid: Mapping[str, Any]
    about: Mapping[str, Any]
    layers: Sequence[int]
    methods: Sequence[Mapping[str, Any]]
    first: str | None
    code: str
    licence: str
    runtime: bytes
    network: bytes
    absent: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    messages: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


def live_page(content: LivePage, files: Mapping[str, str] | None = None) -> str:
    """The page, as HTML text: with both parts in it, or, with `files`, with the names of the files beside it that hold
    the `runtime` and the `network`."""
    parts = {"runtime": content.runtime, "network": content.network}
    code = "\n".join([f"/*\n{content.licence}\n*/\n{content.code}", *map(resource, WORKER)])
    # what ends no element of HTML before its own end, and means the same
    code = code.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    blocks = [(CODE, "text/plain", code)]
    places: dict[str, dict[str, Any]] = {}
    for name, part in parts.items():
        if files is None:
            text = base64.b64encode(part).decode("ascii")
            blocks.append((f"inside-{name}", "application/octet-stream", text))
            places[name] = {"id": f"inside-{name}", "length": len(text)}
        else:
            digest = base64.b64encode(hashlib.sha256(part).digest()).decode("ascii")
            places[name] = {"address": files[name], "integrity": f"sha256-{digest}"}
    count = len(content.classes)
    classes = f"{count} classes" if count > 1 else "one class"
    inside = {
        **places,
        **{
            name: getattr(content, name)
            for name in ("preparation", "input", "grid", "about", "layers", "methods", "absent")
        },
        "classes": list(content.classes),
        "provenance": dict(content.provenance),
        "first": {} if content.first is None else {"map": content.first},
        "chooses": count > MOST_CLASSES,
        "sentence": f"{content.name} is in this page, and tells {classes} apart. Nothing leaves this computer.",
    }
    context = {"name": content.name, "messages": content.messages, "facts": views.facts(content.facts)}
    model = {"name": content.name, "task": "classification", "classes": list(content.classes), "methods": []}
    return shell(
        content.name,
        render("live/inside.html", context),
        data={"models": [model], "methods": [], "inside": inside},
        files=(*STYLES, "live/live.css", *SCRIPTS[:-1], "live/inside/network.js", "live/live.js", SCRIPTS[-1]),
        rules=INSIDE if files is None else {**INSIDE, "connect-src": "'self'"},
        blocks=blocks,
    )
