"""Commands as the command line and files of settings read them: from the annotations of their functions."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, get_args

from regard.app.commands import COMMANDS, Command
from regard.app.options import Reading, setting_options
from regard.config.defaults import Default, Option, defaults_of
from regard.config.file import find_config, read_config
from regard.config.parsing import ParsedCommand, context_of, from_file, options_of, settings_of, source_of
from regard.config.report import Setting
from regard.files import is_file
from regard.training.recipe import Recipe, read_recipe, recipe_for
from regard.training.tasks.table import all_settings, recipes


class CommandWithDefaults(ParsedCommand):
    """A command with what `regard.toml` in the working folder says, or the file that is named."""

    @staticmethod
    def read_defaults(command: str, config: str | None) -> Mapping[str, Default]:
        """What is there; the whole file is checked."""
        path = find_config(config)
        return {} if path is None else defaults_of(read_config(path), declared_options(), command)


def parameters_of(function: Callable[..., Any]) -> list[Parameter]:
    """The parameters of a command as typer reads them: those with a `Reading`, and one for each of its `**settings`."""
    declared = [*signature(function).parameters.values()]
    settings = any(each.kind is Parameter.VAR_KEYWORD for each in declared)
    more = setting_options({each.name for each in declared}) if settings else []
    has_page = any(each.name == "page" for each in declared)  # which may take the place of --out
    parameters = []
    for each in [*declared, *more]:
        kind, *rest = get_args(each.annotation) or (each.annotation,)
        reading = next((part for part in rest if isinstance(part, Reading)), None)
        if reading is not None:
            annotation: Any = Annotated[reading.type or kind, reading.info]
            default = Parameter.empty if reading.required and not has_page else each.default
            parameters.append(Parameter(each.name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation))
    return parameters


def function_of(command: Command) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(import_module(command.module), command.name)
    return function


@cache
def declared_options() -> Mapping[str, tuple[Option, ...]]:
    """What a file of settings may give each command."""
    functions = {command.name: function_of(command) for command in COMMANDS if command.name != "settings"}
    return {name: tuple(options_of(function, parameters_of(function))) for name, function in functions.items()}


def split_by_recipe(context: Any) -> tuple[dict[str, Default], dict[str, Default]]:
    """What a command line has from the file, and what a recipe that stands on it sets aside: of a recipe by name its
    settings in [train], of a recipe.json all that it says."""
    defaults = from_file(context)
    if source_of(context, "recipe") != "COMMANDLINE":
        return defaults, {}
    recipe = str(context.params["recipe"])
    stored = recipe not in recipes() and is_file(recipe)
    names = {*defaults} & {*all_settings(), *(read_recipe(recipe).arguments if stored else ())}
    aside = {name: defaults[name] for name in names if stored or defaults[name].entry.section == "train"}
    return {name: each for name, each in defaults.items() if name not in aside}, aside


def file_settings(path: Path | None) -> Iterator[Setting]:
    """All that a file says, checked, in its order."""
    if path is not None:
        file = read_config(path)
        defaults_of(file, declared_options(), "")
        for each in file.entries:
            yield Setting(each.key, f"{each.section}.{each.key}", each.value, file.place(each.line))


def declared_settings(command: Command, words: list[str], config: str) -> Iterator[Setting]:
    """What would hold for a command with these options. Raises what parsing them does, but for what is missing."""
    parameters = parameters_of(function_of(command))
    context = context_of(CommandWithDefaults, command.name, parameters, [*words, config])
    defaults, _ = split_by_recipe(context)
    values = context.params
    recipe = recipe_for(values["recipe"], values["task"]) if "recipe" in values else Recipe("")
    settings = {} if recipe.settings is None else recipe.settings.as_json()
    stored = {**settings, **recipe.arguments}
    yield from settings_of(context, declared_options().get(command.name, ()), defaults, stored)
