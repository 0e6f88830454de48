"""Where a file of settings meets the command line: a parsed command has the file's defaults, and knows their lines."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, get_args, get_origin

import typer
from typer.core import TyperCommand
from typer.models import OptionInfo

from regard.config.defaults import Default, Option
from regard.config.report import SECRET, Setting, as_typed
from regard.errors import RegardError

DEFAULTS = "regard.defaults"
"""Where a context keeps what the file says."""


class ParsedCommand(TyperCommand):
    """A command with the defaults of a file of settings, whose switches can also be switched off (`--no-skip-bad`)."""

    @staticmethod
    def read_defaults(command: str, config: str | None) -> Mapping[str, Default]:
        """What the file gives the command; the application says how, as it knows all commands."""
        raise NotImplementedError

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`ctx.obj` is what was given as --config. For help no file is read, nor to complete a word."""
        if any(each.name == "config" for each in self.params):
            ctx.default_map = {"config": ctx.obj}
        elif not {"--help", "-h"} & {*args} and not ctx.resilient_parsing:
            defaults = self.read_defaults(str(self.name), ctx.obj)
            ctx.meta[DEFAULTS] = defaults
            ctx.default_map = {name: each.value for name, each in defaults.items()}
        return super().parse_args(ctx, args)

    def make_parser(self, ctx: Any) -> Any:
        parser: Any = super().make_parser(ctx)
        for each in self.params:
            if getattr(each, "is_flag", False) and not each.secondary_opts:
                name = str(each.name).replace("_", "-")
                off = name.removeprefix("no-") if name.startswith("no-") else f"no-{name}"
                parser.add_option(each, [f"--{off}"], dest=each.name, action="store_const", const=False)
        return parser


def config_of(words: list[str]) -> tuple[str | None, list[str]]:
    """The file of settings that is named anywhere in a command line, before `--`, and the other words."""
    end = words.index("--") if "--" in words else len(words)
    rest: list[str] = []
    config = None
    options = iter(words[:end])
    for word in options:
        name, equals, value = word.partition("=")
        if name == "--config":
            config = value if equals else next(options, "")
        else:
            rest.append(word)
    return config, rest + words[end:]


def options_of(function: Callable[..., Any], parameters: Iterable[Parameter]) -> Iterator[Option]:
    """What a file may give a function, by its `parameters` as typer reads them, whose types may be plainer than its."""
    declared = signature(function).parameters
    for each in parameters:
        parsed, info = get_args(each.annotation)
        kind = get_args(declared[each.name].annotation)[0] if each.name in declared else parsed
        types = {*_types(kind)}
        network = Any in types and list not in types  # a name, or the path of a run
        names = [name for name in (info.default, *(info.param_decls or ())) if str(name).startswith("--")]
        key = names[0].removeprefix("--") if names else each.name.replace("_", "-")
        read = next((part for part in (list, bool, int, float) if part in {*_types(parsed)}), str)
        yield Option(
            each.name,
            key,
            f"--{key}" if isinstance(info, OptionInfo) else key.upper(),
            frozenset({str}) if network else frozenset(types - {Path, list, Any} | ({str} if Path in types else set())),
            read,
            list in types,
            network or Path in types,
            info.min,
            info.max,
            None if read is list else info.callback,
        )


def _types(kind: Any) -> Iterator[Any]:
    """The plain types that an annotation is made of; list where it takes several."""
    if get_origin(kind) in (list, tuple, Sequence):
        yield list
    if not get_args(kind):
        yield kind
    for each in get_args(kind):
        yield from () if each in (type(None), ...) else _types(each)


def source_of(context: Any, name: str) -> str:
    """COMMANDLINE, ENVIRONMENT, DEFAULT_MAP (the file) or DEFAULT."""
    source = context.get_parameter_source(name) if name in context.params else None
    return "DEFAULT" if source is None else str(source.name)


def from_file(context: Any) -> dict[str, Default]:
    """What a command line has from the file, as it does not say otherwise."""
    defaults: Mapping[str, Default] = context.meta.get(DEFAULTS, {})
    return {name: each for name, each in defaults.items() if source_of(context, name) == "DEFAULT_MAP"}


def in_words(defaults: Iterable[Default]) -> str:
    """`regard.toml: --epochs 3 (line 5)`, in the order of the file."""
    ordered = sorted(defaults, key=lambda each: each.entry.line)
    parts = [f"{each.option.label} {as_typed(each.value)} (line {each.entry.line})" for each in ordered]
    return f"{ordered[0].file.path}: {', '.join(parts)}"


def with_place(error: RegardError, defaults: Iterable[Default]) -> RegardError:
    """An error that speaks of a value of the file, with the line of it."""
    places = [
        f"{each.place}: {each.entry.key} = {each.entry.value!r}"
        for each in defaults
        if re.search(rf"{each.option.label}(?![\w-])|{re.escape(repr(str(each.value)))}", str(error))
    ]
    return type(error)(f"{error} ({'; '.join(places)})") if places else error


def context_of(command: type[ParsedCommand], name: str, parameters: list[Parameter], words: list[str]) -> Any:
    """What typer makes of these words after a command, in which nothing is required; the last word is the file."""

    def run(**values: Any) -> None:
        """Never called: what was parsed is what is wanted."""

    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    alone = typer.Typer(add_completion=False)
    alone.command(name, cls=command)(run)
    parser: Any = typer.main.get_command(alone)
    for each in parser.params:
        each.required = False
        each.callback = None if each.param_type_name == "argument" else each.callback  # names from standard input
    return parser.make_context(name, words[:-1], obj=words[-1])


def settings_of(
    context: Any, options: Iterable[Option], defaults: Mapping[str, Default], recipe: Mapping[str, Any]
) -> Iterator[Setting]:
    """Each option with what holds: the command line's, the file's (`defaults`), the recipe's, else what is built in."""
    for option in options:
        value = context.params[option.name]
        place = {"COMMANDLINE": "command line", "ENVIRONMENT": "environment"}.get(source_of(context, option.name))
        if place is not None:
            value = SECRET if option.key == "token" else value
        elif option.name in defaults:
            place = defaults[option.name].place
        elif recipe.get(option.name) is not None:
            value = recipe[option.name]
            place = f"recipe {context.params['recipe']}"
        elif source_of(context, option.name) == "DEFAULT_MAP":  # which a recipe sets aside
            value = None
        yield Setting(option.name, option.label, value, *filter(None, [place]))
