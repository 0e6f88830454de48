"""What messages recommend exists: every command, option and argument that a text of the sources names can be typed."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from PIL import Image

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
    known = set().union(*commands.values()) | {"--debug", "--version", "--config"}
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


PLACEHOLDERS = {"N": "3", "ROWS,COLUMNS": "2,2", "NAME": "vit_tiny_patch16_224", "NETWORK": "vit_tiny_patch16_224"}
"""What stands for what a user fills in; for anything else (DATA, FILE, RUN) any word does."""


def parsed(command: str, words: list[str]) -> None:
    """Raises what the parser raises for a whole command line; nothing runs."""
    filled = [PLACEHOLDERS.get(word, word) for word in words]
    typer.main.get_command(app).commands[command].make_context(command, filled)  # type: ignore[attr-defined]


def test_every_whole_command_line_that_is_recommended_parses() -> None:
    """A line with arguments is whole; a command's name alone, or --help, is where to look."""
    lines = {}
    for place, text in texts():
        for command, rest in re.findall(r"`regard ([a-z]+)([^`]*)`", text):
            if rest.split() not in ([], ["--help"]):
                lines[f"{place}: regard {command}{rest}"] = (command, rest.split())
    assert len(lines) >= 10
    for line, (command, words) in lines.items():
        try:
            parsed(command, words)
        except Exception as error:  # the parser's own have no public base
            pytest.fail(f"{line}: {error}")
    with pytest.raises(Exception, match="Missing parameter: out"):  # as the messages had it
        parsed("train", ["DATA"])


OWNERS = {  # what only these commands can reach: all that is recommended there, one of them must take
    "app/commands/compare.py": ("compare",),
    "app/commands/evaluate.py": ("evaluate",),
    "app/commands/positions.py": ("positions",),
    "app/commands/predict.py": ("predict",),
    "app/commands/registers.py": ("registers",),
    "app/commands/train.py": ("train",),
    "app/caption_": ("caption",),
    "app/comparing.py": ("explain",),
    "predictors/sheets.py": ("explain",),
    "app/output.py": ("explain", "caption"),
    "app/commands/audit.py": ("audit",),
    "audit/": ("registers", "audit"),
    "app/commands/export.py": ("export",),
    "exports/coco.py": ("explain", "caption"),
    "exports/": ("export",),
    "explanation/pictures/": ("explain", "registers"),
    "explanation/positions/": ("positions",),
    "explanation/words/": ("caption",),
    "measurement/localisation/captions.py": ("caption",),
    "predictors/caption": ("caption",),
    "results/captions.py": ("caption",),
    "predictors/method_options.py": ("explain",),
    "scenes/": ("scenes",),
    "training/": ("train", "evaluate"),
}
EVERYWHERE = ("data/images/", "data/dataset.py", "files.py")
READERS = ("predict", "explain", "caption", "evaluate", "train", "registers", "positions", "compare")
"""What any command that reads pictures can reach: all of them must take it."""


def test_what_a_command_recommends_is_its_own() -> None:
    group = typer.main.get_command(app)
    taken = {
        name: {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }
    found = 0
    wrong = []
    for place, text in texts():
        bare = re.sub(r"`regard [a-z]+[^`]*`|takes --grid ROWS,COLUMNS", "", text)
        owners = next((names for prefix, names in OWNERS.items() if place.startswith(prefix)), None)
        for option in OPTION.findall(bare):
            if owners is not None:
                found += 1
                wrong += [] if any(option in taken[name] for name in owners) else [f"{place}: {option}"]
            if place.startswith(EVERYWHERE) and option not in ("--resume", "--out", "--overwrite"):
                found += 1
                wrong += [f"{place}: {name} has no {option}" for name in READERS if option not in taken[name]]
    assert found > 50
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("words", "offered", "never"),
    [
        ("explain d --out o --method cross_atention", "did you mean 'grad_attention'", "cross_"),
        ("caption d --out o --method atention", "'cross_attention'", "'attention'"),
        ("explain d --out o --sheet cross_attention_", "unknown sheet or method", "cross_attention'?"),
        ("caption d --out o --method tan", "'tam'", "rollout"),
        ("train d --out o --recipe fintune", "did you mean 'finetune'", "capt"),
        ("train d --out o --task caption --recipe captoin", "did you mean 'caption'", "finetune"),
        ("train d --out o --task classify --recipe captoin", "did you mean 'recombine'", "'caption'"),
        ("train d --out o --task clasify", "did you mean 'classify'", "regard tasks"),
        ("evaluate d --label lable", "unknown column 'lable'; did you mean 'label'", "split"),
        ("evaluate dd", "there is no dd to read pictures from (did you mean 'd'?)", "d.txt"),
        ("predict d/a/0.pn --out o", "(did you mean 'd/a/0.png'?)", "d/a/0.pnx"),
        ("positions --out o --model pets-tny", "did you mean 'pets-tiny'", "scenes-captioner"),
        ("evaluate d --model runs/cell", "did you mean 'runs/cells'", "runs/cellc"),
        ("caption d --out o --model runs/cell", "is no network that can caption; give scenes-captioner", "rdnet"),
        ("explain d --out o --colours jett", "did you mean 'jet'", "regard"),
    ],
)
def test_what_is_offered_is_of_that_argument(
    words: str, offered: str, never: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / "d" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (8, 8), (number * 90, 0, len(name))).save(tmp_path / "d" / name / f"{number}.png")
        (tmp_path / "d" / name / "0.pnx").write_text("no picture")
    (tmp_path / "d.txt").write_text("no data")
    for name, task in (("cells", "classification"), ("cellc", "captioning"), ("celld", None)):
        (tmp_path / "runs" / name).mkdir(parents=True)
        content = "{" if task is None else json.dumps({"schema": 1, "task": task})
        (tmp_path / "runs" / name / "model.json").write_text(content)
    code, _, err = run(*words.split())
    last = err.strip().splitlines()[-1]
    assert code in (1, 2)
    assert offered in last and never not in last.replace(offered, "").split(";", 1)[-1]


def test_a_path_is_not_taken_for_a_misspelt_name(tmp_path: Path) -> None:
    """Names of timm are of no help for a run that is not there; runs beside it are."""
    for name in ("cells", "other"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "model.json").write_text('{"schema": 1, "task": "classification"}')
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
