"""`regard settings`: what holds for a command, and where it is from."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from regard.app.commands import COMMANDS
from regard.app.options import argument, option
from regard.config.file import NONE, find_config
from regard.config.report import ENVIRONMENT, SECRET, Settings, as_json, as_text
from regard.errors import unknown

__all__ = ["as_json", "as_text", "settings"]


def settings(
    command: Annotated[str | None, argument("A command; without one, all that the file says.")] = None,
    words: Annotated[
        Sequence[str] | None,
        argument("Options of the command, as they would be given.", metavar="[OPTION]...", type=list[str] | None),
    ] = None,
    config: Annotated[
        str | Path | None,
        option("The file; by default regard.toml in the working folder, none for no file.", type=str | None),
    ] = None,
) -> Settings:
    """Show what holds for a command and where it is from: the command line, a file of settings, the recipe, built in.

    Functions of Python read no file by themselves; `values` are their arguments. Raises `UsageError` where the file
    cannot be read, or says what no command knows.

    >>> import regard
    >>> _ = Path("regard.toml").write_text('[train]\\nepochs = 3\\n')
    >>> regard.settings("train").values
    {'epochs': 3}
    """
    from regard.app.declaring import declared_settings, file_settings

    path = find_config(config)
    row = next((each for each in COMMANDS if each.name == command), None)
    if command is not None and row is None:
        raise unknown("command", command, [each.name for each in COMMANDS])
    rows = file_settings(path) if row is None else declared_settings(row, list(words or ()), str(path or NONE))
    values = {name: os.environ.get(name) for name in ENVIRONMENT}
    variables = {name: SECRET if value and name.endswith("TOKEN") else value for name, value in values.items()}
    return Settings(command, path, tuple(rows), variables)
