"""What messages recommend exists: every command, option and argument that a text of the sources names can be typed."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

import regard
from regard.app.cli import app
from regard.data.layouts import read_pictures
from regard.errors import DataError, UsageError
from regard.networks.load import load

Run = Callable[..., tuple[int, str, str]]
SOURCES = Path(regard.__file__).parent
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")


def texts() -> Iterator[tuple[str, str]]:
    """Every text of the sources that is no docstring, with where it stands; a text in parts as one."""
    for path in sorted(SOURCES.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        skipped: set[int] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                skipped.add(id(node.value))
            if isinstance(node, ast.JoinedStr):
                skipped |= {id(part) for part in node.values}
                words = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
                yield f"{path.relative_to(SOURCES)}:{node.lineno}", words
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
                yield f"{path.relative_to(SOURCES)}:{node.lineno}", node.value


def test_every_command_and_option_that_is_recommended_exists() -> None:
    group = typer.main.get_command(app)
    commands = {
        name: {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }
    known = set().union(*commands.values()) | {"--debug", "--version"}
    found = 0
    wrong = []
    for place, text in texts():
        found += len(OPTION.findall(text))
        wrong += [f"{place}: {option}" for option in OPTION.findall(text) if option not in known]
        for command, rest in re.findall(r"`regard ([a-z]+)([^`]*)`", text):
            found += 1
            options = commands.get(command)
            if options is None:
                wrong.append(f"{place}: no command {command}")
            else:
                wrong += [f"{place}: {command} has no {each}" for each in OPTION.findall(rest) if each not in options]
    assert found > 100
    assert not wrong, "\n".join(wrong)


def test_a_path_is_not_taken_for_a_misspelt_name(tmp_path: Path) -> None:
    """Names of timm are of no help for a run that is not there; runs beside it are."""
    for name in ("cells", "other"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "model.json").write_text("{}")
    with pytest.raises(UsageError, match=r"there is no .*runs/cll; did you mean '.*runs/cells'") as error:
        load(str(tmp_path / "runs" / "cll"))
    assert "rdnet" not in str(error.value)
    with pytest.raises(UsageError, match=r"there is no \./nothing; give a run folder"):
        load("./nothing")
    with pytest.raises(UsageError, match="did you mean 'vit_tiny_patch16_224'"):
        load("vit_tiny_patch16_244")


@pytest.mark.parametrize(
    "words",
    [
        ("explain", "{long}", "--out", "maps"),
        ("explain", "{scenes}", "--model", "{long}", "--out", "maps"),
        ("explain", "{scenes}", "--model", "vit_tiny_patch16_224", "--weights", "{long}.pth", "--out", "maps"),
        ("predict", "{scenes}", "--out", "{long}.csv"),
        ("predict", "{table}", "--out", "rows.csv"),
        ("caption", "{scenes}", "--model", "scenes-captioner", "--truth", "{long}", "--out", "captions"),
        ("caption", "{scenes}", "--model", "{long}", "--out", "captions"),
        ("train", "{scenes}", "--recipe", "{long}", "--out", "run"),
        ("train", "{scenes}", "--out", "{long}"),
        ("evaluate", "{scenes}", "--predictions", "{long}.csv"),
        ("compare", "{long}", "{long}2"),
    ],
)
def test_a_name_longer_than_any_file_system_takes(
    words: tuple[str, ...], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    regard.scenes(16, "scenes", size=32)
    Path("table.csv").write_text(f"filename,label\n{'n' * 5000}.png,cat\n")
    values = {"long": "n" * 5000, "scenes": "scenes", "table": "table.csv"}
    code, _, err = run(*(word.format(**values) for word in words))
    assert code in (1, 2)
    last = err.strip().splitlines()[-1]
    assert last.startswith("regard: ") and "Errno" not in last


def test_a_long_name_in_a_table_is_a_picture_that_is_not_there(tmp_path: Path) -> None:
    for name in ("n" * 5000, f"{'n' * 5000}/a.png"):
        (tmp_path / "table.csv").write_text(f"filename,label\n{name},cat\n")
        with pytest.raises(DataError, match="line 2: there is no picture"):
            read_pictures(tmp_path / "table.csv")


@pytest.mark.skipif(os.name == "nt", reason="locales are of POSIX")
def test_a_locale_without_utf_8_loses_no_name(tmp_path: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment.pop("PYTHONIOENCODING", None)
    command = [sys.executable, "-m", "regard", "scenes", "8", "--out", str(tmp_path / "Größe"), "--size", "32"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "Größe" / "manifest.json").is_file()
    assert "Größe" in done.stdout.decode("utf-8")
