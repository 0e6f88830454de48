"""The command line: the functions of `commands`, whose annotations say how each argument is read.

Results go to stdout (`--json`: one JSON object), messages and progress to stderr. Exit codes: 0 done, 1 the work
failed, 2 the command was wrong, 130 interrupted. Heavy modules are imported only when a command runs, so that
`--help` answers at once.
"""

import errno
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from inspect import Parameter, Signature, getdoc
from typing import Annotated, Any

import typer

from regard.app.commands import COMMANDS, Command
from regard.app.console import first_process, log, messages, stderr
from regard.app.declaring import CommandWithDefaults, function_of, parameters_of, split_by_recipe
from regard.app.options import OUTPUT, setting_options
from regard.config.parsing import config_of, in_words, with_place
from regard.errors import RegardError, UsageError
from regard.explanation.words.checks import LEVELS
from regard.files import json_text, readable
from regard.networks.sources.deferred import defer_imports

app = typer.Typer(
    name="regard",
    help="Fine-tune a vision transformer on your pictures, and see, and measure, what it looks at.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog="Add --debug to any command for the traceback of an error, --config FILE for the defaults of its options.",
)

_CONTEXT = Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)
_JSON = Parameter(
    "json",
    Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.", rich_help_panel=OUTPUT)],
)


MEMORY = ("batch_size", "samples", "size", "beams", "workers")
"""Arguments that take memory, the most likely first."""
INTERRUPTED = "interrupted; nothing that was there has been changed"


class OutOfMemoryError(RegardError):
    """Neither the command nor the pictures are wrong: the machine is too small for them."""


class InterruptedCommandError(RegardError):
    """Ctrl-C, with what the command says is kept."""

    exit_code = 130


def _less_memory(values: Mapping[str, Any]) -> str:
    """What to lower, of what this command takes."""
    names = [name for name in MEMORY if name in values]
    options = [
        f"--{name.replace('_', '-')}" + (f" (now {values[name]})" if values[name] is not None else "") for name in names
    ]
    device = ", or give --device cpu" if str(values.get("device") or "auto") != "cpu" and "device" in values else ""
    advice = f"lower {' or '.join(options)}" if options else "take fewer pictures"
    return f"out of memory: this needs more than there is; {advice}{device}"


def _declare(command: Command) -> None:
    """Make a command of the function of its name; the first paragraph of its docstring is its help."""
    module = import_module(command.module)
    function = function_of(command)
    settings = {each.name for each in setting_options(())}
    standard = {each.name: each.default for each in parameters_of(function)}

    def run(context: typer.Context, json: bool = False, **values: Any) -> int:
        defaults, aside = split_by_recipe(context)
        values |= {name: standard[name] for name in aside}
        if aside:
            log.info(f"set aside, as a recipe on the command line is whole: {in_words(aside.values())}")
        if defaults:
            log.info(f"from {in_words(defaults.values())}")
        if values.get("page", "") is None and values["out"] is None:
            raise UsageError("nothing would be written; give --out for results, or --page FILE.html for a page")
        given = {name: value for name, value in values.items() if value is not None or name not in settings}
        try:
            result = function(**given)
        except RegardError as error:
            raise with_place(error, defaults.values()) from error
        except KeyboardInterrupt as error:  # before the parser sees it, which says nothing
            raise InterruptedCommandError(str(error) or INTERRUPTED) from error
        except (MemoryError, RuntimeError) as error:
            text = str(error).lower()  # as numpy, Python and torch, on a CPU or a GPU, say that no memory is left
            of_torch = type(error).__name__ == "OutOfMemoryError" or "out of memory" in text
            if not (isinstance(error, MemoryError) or of_torch or "can't allocate memory" in text):
                raise
            raise OutOfMemoryError(_less_memory(values)) from error
        home = sys.modules[type(result).__module__]  # as of bulk work, which several commands do
        home = home if hasattr(home, "as_text") else module
        if first_process():
            typer.echo(json_text(home.as_json(result)) if json else readable(home.as_text(result)))
        return home.exit_code(result) if hasattr(home, "exit_code") else 0

    run.__name__ = command.name
    run.__doc__ = (getdoc(function) or "").split("\n\n")[0]
    run.__signature__ = Signature([_CONTEXT, *parameters_of(function), _JSON])  # type: ignore[attr-defined]
    more = {"ignore_unknown_options": True} if command.name == "settings" else {}
    app.command(command.name, cls=CommandWithDefaults, rich_help_panel=command.panel, context_settings=more)(run)


for _command in COMMANDS:
    _declare(_command)


def _version(wanted: bool) -> None:
    if wanted:
        from regard.version import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    # Eager: it is read before a command is missed.
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    config: Annotated[str, typer.Option(help="Defaults of options; none: no file.", metavar="FILE")] = "regard.toml",
) -> None:
    """Options that stand before a command."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code; errors become one line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words  # wherever it stands
    words = [word for word in words if word != "--debug"]
    config, words = config_of(words)
    if words[:1] == ["caption"] and "--check" in words:  # its value may be left out, which typer's options cannot
        place = words.index("--check") + 1
        words[place:place] = [] if words[place:][:1] in [[level] for level in LEVELS] else LEVELS[:1]
    if not words:
        app(["--help"], standalone_mode=False, prog_name="regard")
        return 2
    try:
        with messages():
            return int(app(words, standalone_mode=False, prog_name="regard", obj=config) or 0)
    except RegardError as error:
        if debug:
            raise
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(INTERRUPTED, 130)
    except OSError as error:  # a name that the file system does not take, a folder that may not be read
        if debug or error.filename is None:
            raise
        return _fail(_about_file(error), 1)
    except Exception as error:
        wrong_use = hasattr(error, "format_message")  # the parser's own: an unknown option, a value that does not fit
        if debug or not wrong_use:
            raise
        return _fail(error.format_message(), 2)  # type: ignore[attr-defined]


def _about_file(error: OSError) -> str:
    """What the operating system says of a file, and what to do; a name of any length stays readable."""
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    short = name if len(name) <= 80 else f"{name[:40]}...{name[-30:]} ({len(name)} characters)"
    advice = "give a shorter one" if error.errno == errno.ENAMETOOLONG else "check the path and what you may read there"
    return f"{short} cannot be used: {error.strerror or type(error).__name__}; {advice}"


def _fail(message: str, code: int) -> int:
    stderr().print(f"regard: {' '.join(readable(message).split())}", markup=False, style="red")
    return code


def run() -> None:
    """The console script. Under a locale without UTF-8 it starts anew with it: names are bytes, and lose nothing."""
    if os.name == "posix" and not sys.flags.utf8_mode and sys.getfilesystemencoding() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"  # for the processes that read pictures
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    defer_imports()
    sys.exit(main())
