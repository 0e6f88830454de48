"""The page that every content sits in: one self-contained file, opening from `file://`, fetching nothing.

Templates, style and script lie in `viewer/` and are written into the page, with everything escaped. The content
security policy allows inline images, style and script and no request.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from regard.rendering.lettering import visible

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_NONE: Mapping[str, Any] = MappingProxyType({})


def shell(
    title: str,
    body: Markup | str,
    *,
    sections: Sequence[tuple[str, str]] = (),
    controls: Markup | str = "",
    data: Mapping[str, Any] = _NONE,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
) -> str:
    """A whole page around a body: head, policy, style, navigation and script, in one file.

    `body` and `controls` are escaped unless they are `Markup` that a template made. `sections` are (id, name) for the
    navigation; `data` is embedded as JSON in the element `#data`; `styles` and `scripts` name further files of
    `viewer/`. The text is UTF-8 and can always be encoded.
    """
    context = {
        "title": title,
        "body": body,
        "sections": sections,
        "controls": controls,
        "data": _visible(data),
        "policy": Markup(POLICY),  # with its quotes as they are: it is ours
        "style": _raw("page.css", *styles),
        "script": _raw("page.js", *scripts),
    }
    return render("shell.html", context)


def render(template: str, context: Mapping[str, Any]) -> Markup:
    """A template's text, in which everything was escaped as it was written."""
    return Markup(_environment().get_template(template).render(context))


def _raw(*names: str) -> Markup:
    """Our own style or script, which is written into the page as it is."""
    return Markup("\n".join(_resource(name) for name in names))


def _resource(name: str) -> str:
    return (resources.files("regard.rendering") / "viewer" / name).read_text(encoding="utf-8")


def _visible(value: Any) -> Any:
    """JSON content in which no text holds characters that act unseen."""
    if isinstance(value, Mapping):
        return {visible(str(key)): _visible(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_visible(each) for each in value]
    return visible(value) if isinstance(value, str) else value


@cache
def _environment() -> Environment:
    def finalize(value: Any) -> Any:
        """What every expression of a template passes before it is escaped."""
        return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    return Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
