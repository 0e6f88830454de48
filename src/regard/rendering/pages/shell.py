"""The page that every content sits in: one self-contained file, opening from `file://`, fetching nothing.

Templates, style and script lie in the folders of `viewer/` and are written into the page, with everything escaped. The
content policy allows inline images and style, the one script by its hash, and no request. The script is made of
fragments, which share one scope: none is a module, as browsers load no modules from `file://`.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from regard.rendering.lettering import visible

POLICY = {
    "default-src": "'none'",
    "img-src": "data: blob:",
    "style-src": "'unsafe-inline'",
    "base-uri": "'none'",
    "form-action": "'none'",
}
"""What a page may do, beside what its script does, which is known by its hash."""
SERVED = {"connect-src": "'self'", "img-src": "'self' data: blob:", "form-action": "'self'"}
"""Rules of a page that a server gave, which may ask that server."""
INSIDE = {"worker-src": "blob:", "script-src": "'wasm-unsafe-eval'"}
"""Rules of a page that holds a network: it may compile it, in a worker that its own script makes."""
FRAGMENTS = ("shell/inspections.js", "shell/page.js")
"""The fragments of every page's script; a page's own come behind them."""
DRAWING_SCRIPTS = tuple(f"drawing/{name}.js" for name in ("tables", "dom", "colours", "canvas"))
"""What draws maps over pictures anywhere."""
PICTURE_SCRIPTS = DRAWING_SCRIPTS + tuple(
    f"picture/{name}.js"
    for name in (
        *("views", "words", "stage", "gestures", "readings", "controls"),
        *("scrub", "compare", "figure", "keys", "open"),
    )
)
"""What one picture is looked at with: its last fragment has `openPicture`."""
PICTURE_STYLES = ("picture/picture.css",)
_RUN = ("run/common", "run/columns", "run/gallery", "run/tables", "run/charts", "words/doubts", "words/view")
RUN_SCRIPTS = tuple(f"{name}.js" for name in (*_RUN, "run/dialog", "run/start"))
RUN_STYLES = ("run/run.css", "words/words.css")
"""The gallery, the dialog of a picture, captions, and what charts and tables do; "run/start.js" is last of all."""
_NONE: Mapping[str, Any] = MappingProxyType({})


class Bar(NamedTuple):
    """What stands above the body: `sections` as (id, name), and `controls`, escaped unless they are `Markup`."""

    sections: Sequence[tuple[str, str]] = ()
    controls: Markup | str = ""


_NO_BAR = Bar()


def shell(
    title: str,
    body: Markup | str,
    *,
    bar: Bar = _NO_BAR,
    data: Mapping[str, Any] = _NONE,
    files: Sequence[str] = (),
    inspections: Sequence[bytes] = (),
    rules: Mapping[str, str] = _NONE,
    blocks: Sequence[tuple[str, str, str]] = (),
) -> str:
    """A whole page around a body: head, policy, style, navigation and script, in one file.

    `body` is escaped unless it is `Markup` that a template made. `data` is embedded as JSON in the element `#data`;
    `files` names further styles and scripts of `viewer/`, each in their order; `inspections` are packed ones, each in a
    block of its own. `rules` are what the content policy has beside `POLICY`, or in its place: see `policy`. `blocks`
    are (id, type, text) of what comes last, behind the script, which so can say what is missing. The text is UTF-8 and
    can always be encoded.
    """
    code = script([name for name in files if name.endswith(".js")])
    styles = ["shell/page.css", *(name for name in files if name.endswith(".css"))]
    context = {
        "title": title,
        "body": body,
        "sections": bar.sections,
        "controls": bar.controls,
        "data": clean(data),
        "policy": Markup(policy(code, rules=rules)),  # with its quotes as they are: it is ours
        "style": Markup("\n".join(map(resource, styles))),
        "script": Markup(code),
        "inspections": [base64.b64encode(packed).decode("ascii") for packed in inspections],
        "blocks": [(name, kind, Markup(text)) for name, kind, text in blocks],  # no HTML: those who make them see to it
    }
    return render("shell/shell.html", context)


def script(names: Sequence[str] = ()) -> str:
    """All that a page runs, in one scope: the fragments of every page, and these of `viewer/`."""
    return "\n".join(["(() => {", '"use strict";', *map(resource, (*FRAGMENTS, *names)), "})();"])


def policy(*scripts: str, rules: Mapping[str, str] = _NONE) -> str:
    """The content policy of a page with these scripts, each exactly as it stands between its tags. Of `rules`
    "script-src" stands beside the scripts' hashes, others in the place of those that all pages have (`POLICY`)."""
    hashes = (base64.b64encode(hashlib.sha256(each.encode()).digest()).decode("ascii") for each in scripts)
    sources = [*(f"'sha256-{each}'" for each in hashes), *filter(None, [rules.get("script-src")])]
    rules = {**POLICY, **rules, "script-src": " ".join(sources)}
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def render(template: str, context: Mapping[str, Any]) -> Markup:
    """A template's text, in which everything was escaped as it was written."""
    return Markup(_environment().get_template(template).render(context))


def resource(name: str) -> str:
    """The text of a file of `viewer/`, "folder/name"; its lines end in "\\n", on which its hash depends."""
    return (resources.files("regard.rendering") / "viewer" / name).read_text(encoding="utf-8").rstrip("\n")


def clean(value: Any) -> Any:
    """JSON content in which no text holds characters that act unseen."""
    if isinstance(value, Mapping):
        return {visible(str(key)): clean(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(each) for each in value]
    return visible(value) if isinstance(value, str) else value


@cache
def _environment() -> Environment:
    def finalize(value: Any) -> Any:
        """What every expression of a template passes before it is escaped."""
        return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    return Environment(
        loader=FunctionLoader(resource),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
