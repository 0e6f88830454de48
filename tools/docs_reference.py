"""Pages of the site that are made of code: the command line as its parser knows it, and the public names of `regard`.

Signatures and docstrings are read from the sources: to build a page imports no torch.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, get_args, get_origin

import typer

import regard
from regard.app import options
from regard.app.cli import app
from regard.app.commands import COMMANDS
from regard.registry import Table

Definition = ast.FunctionDef | ast.ClassDef


def command_line() -> str:
    """What `regard --help` and `regard COMMAND --help` say, on one page."""
    group = typer.main.get_command(app)
    parts = [
        "# Command line",
        "As `regard --help` and `regard COMMAND --help` say it. `--json` prints one JSON object on stdout, messages "
        "and progress go to stderr. Exit codes: 0 done, 1 the work failed, 2 the command was wrong, 130 interrupted. "
        "`--debug` shows the traceback of an error.",
    ]
    for row in COMMANDS:
        command = group.commands[row.name]  # type: ignore[attr-defined]
        parts.append(f"## regard {row.name}")
        parts.append(_escaped(command.help or ""))
        positional = [each for each in command.params if each.param_type_name == "argument"]
        words = [_placeholder(each) if each.required else f"[{_placeholder(each)}]" for each in positional]
        parts.append(f"```\nregard {' '.join([row.name, *words, '[OPTIONS]'])}\n```")
        panels: dict[str, list[str]] = {}
        for parameter in command.params:
            heading = parameter.rich_help_panel or ("Arguments" if parameter in positional else "Options")
            options = ", ".join([*parameter.opts, *parameter.secondary_opts])
            names = _placeholder(parameter) if parameter in positional else options
            text = _escaped(parameter.help or "")
            panels.setdefault(heading, []).append(f"| `{names}` | {text} | {_default(parameter)} |")
        for heading, rows in panels.items():
            parts.append("\n".join([f"| {heading} | | default |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _placeholder(parameter) -> str:
    return parameter.metavar or parameter.name.upper()


def _default(parameter) -> str:
    if parameter.required:
        return "required"
    shown = getattr(parameter, "show_default", True)
    if isinstance(shown, str):
        return _escaped(shown)
    value = parameter.default
    if value is None or value is False or value == () or callable(value) or not shown:
        return ""
    return f"`{getattr(value, 'value', value)}`"


def python(root: Path) -> str:
    """Every public name of `regard`, with its signature and docstring."""
    sections: dict[str, list[str]] = {
        "Commands": [],
        "Predictors": [],
        "Networks": [],
        "Tables and what adds to them": [],
    }
    sections["Errors"] = []
    commands = {row.name for row in COMMANDS}
    for name, module in regard._PLACES.items():
        family = _family(root, module, name)
        if name in commands:
            heading = "Commands"
            family = [Options().visit(each) for each in family]
        elif not family or name.startswith("register_"):
            heading = "Tables and what adds to them"
        elif name.endswith("Error"):
            heading = "Errors"
        else:
            heading = "Predictors" if isinstance(family[0], ast.ClassDef) else "Networks"
        sections[heading].append("\n\n".join(_entry(family, name, module)))
    parts = [
        "# Python",
        "Loaded when they are first used: `import regard` alone imports nothing heavy. `regard.NAME` is each of them.",
    ]
    for heading, entries in sections.items():
        parts.extend([f"## {heading}", *entries])
    return "\n\n".join(parts) + "\n"


class Options(ast.NodeTransformer):
    """Annotations of a command as types, where they are options that several commands share."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._type(node, node.id)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return self._type(node, node.attr)

    def _type(self, node: ast.expr, name: str) -> ast.expr:
        value = getattr(options, name, None)
        if get_origin(value) is not Annotated:
            return node
        kind = inspect.formatannotation(get_args(value)[0])
        return ast.parse(re.sub(r"(pathlib|collections\.abc|typing)\.", "", kind), mode="eval").body


def _family(root: Path, module: str, name: str) -> list[Definition]:
    """The function, or the class and those that it is made from, as they stand in the sources; none for a table."""
    place = root / "src" / module.replace(".", "/")
    path = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for each in tree.body:
        if isinstance(each, Definition) and each.name == name:
            bases = [base.id for base in getattr(each, "bases", ()) if isinstance(base, ast.Name)]
            return [each, *(parent for base in bases for parent in _family(root, module, base))]
        ours = isinstance(each, ast.ImportFrom) and f"{each.module}.".startswith("regard.")
        if ours and name in [alias.name for alias in each.names]:
            return _family(root, str(each.module), name)
    return []


def _entry(family: list[Definition], name: str, module: str) -> Iterator[str]:
    yield f"### regard.{name}"
    if not family:
        value = getattr(regard, name)
        if isinstance(value, Table):
            yield f"`{module}`: the {value.kind}s that there are: " + ", ".join(f"`{row}`" for row in value.names) + "."
        else:  # the method of a table
            yield f"```python\nregard.{name}(row)\n```"
            yield _escaped(inspect.getdoc(value) or "")
        return
    definition = family[0]
    if isinstance(definition, ast.FunctionDef):
        yield _signature(definition, f"regard.{name}")
        yield _docstring(definition)
        return
    methods = [each for each in definition.body if isinstance(each, ast.FunctionDef)]
    everything = [each for parent in family for each in parent.body if isinstance(each, ast.FunctionDef)]
    constructor = next((each for each in everything if each.name == "__init__"), None)
    if constructor:
        yield _signature(constructor, f"regard.{name}")
    yield _docstring(definition)
    for method in methods:
        if (not method.name.startswith("_") or method.name == "__call__") and ast.get_docstring(method):
            inside = "" if method.name == "__call__" else f".{method.name}"
            is_property = any("property" in ast.unparse(each) for each in method.decorator_list)
            yield f"#### {name}{inside or '(...)'}"
            yield (
                f"`{ast.unparse(method.returns)}`"
                if is_property and method.returns
                else _signature(method, f"{name.lower()}{inside}")
            )
            yield _docstring(method)


def _signature(function: ast.FunctionDef, name: str) -> str:
    """The signature as it is written, without the options that an annotation holds for the command line."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    first = [None] * (len(positional) - len(arguments.defaults))
    pairs = list(zip(positional, [*first, *arguments.defaults], strict=True))
    words = [_argument(each, default) for each, default in pairs if each.arg not in ("self", "cls")]
    if arguments.vararg:
        words.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        words.append("*")
    words += [
        _argument(each, default) for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg:
        words.append(f"**{arguments.kwarg.arg}")
    result = f" -> {_type(function.returns)}" if function.returns and function.name != "__init__" else ""
    line = f"{name}({', '.join(words)}){result}"
    if len(line) > 80:
        line = f"{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){result}"
    return f"```python\n{line}\n```"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {_type(argument.annotation)}" if argument.annotation else ""
    value = "" if default is None else f" = {ast.unparse(default)}" if kind else f"={ast.unparse(default)}"
    return f"{argument.arg}{kind}{value}"


def _type(annotation: ast.expr) -> str:
    """`Annotated[int, ...]` as `int`; what is in quotes without them."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        inside = annotation.slice
        return _type(inside.elts[0] if isinstance(inside, ast.Tuple) else inside)
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value
    return ast.unparse(annotation)


def _docstring(definition: Definition) -> str:
    """Its paragraphs; examples and what is indented as code."""
    blocks = inspect.cleandoc(ast.get_docstring(definition) or "").split("\n\n")
    return "\n\n".join(_block(block) for block in blocks)


def _block(block: str) -> str:
    if block.startswith((">>>", "    ")):
        return f"```python\n{textwrap.dedent(block)}\n```"
    return _escaped(block)


def _escaped(text: str) -> str:
    """Text that Markdown and a table leave as it is; what stands between backticks is code."""
    parts = text.split("`")
    outside = [part.replace("<", "&lt;").replace("*", r"\*").replace("[", r"\[") for part in parts[::2]]
    parts[::2] = outside
    return "`".join(parts).replace("|", r"\|")
