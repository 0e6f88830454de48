"""What is wrong about a command line, its data or its output is said before torch is imported, which takes seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

LINES = {
    "predict": "predict {} --out {}",
    "explain": "explain {} --out {}",
    "caption": "caption {} --out {}",
    "evaluate": "evaluate {} --out {}",
    "train": "train {} --out {}",
    "registers": "registers {} --out {}",
    "positions": "positions --pictures {} --out {}",
    "compare": "compare pets-tiny other --data {} --out {}",
}
EVERY = {  # of all commands: DATA, OUT, and what the message has
    "missing picture": ("nothing.png", "new", "there is no nothing.png"),
    "missing folder": ("nothing", "new", "there is no nothing"),
    "bad table": ("bad.csv", "new", "bad.csv, line 2: there is no picture 'none.png'"),
    "empty folder": ("empty", "new", "empty holds no pictures"),
    "output exists": ("pics", "there", "there exists already"),
}
PRECISION = ("--precision float8", "unknown precision 'float8'")
WEIGHTS = ("--weights none.pth", "no checkpoint at none.pth")
PART = ("--weights-part ema", "is of a checkpoint file")
SIZE = ("--size 0", "--size")
LIMIT = ("--max-pixels 0", "--max-pixels")
COLUMN = ("--group nocolumn", "unknown column 'nocolumn'")
OPTIONS = {
    "predict": [PRECISION, WEIGHTS, PART, SIZE, LIMIT, ("--batch-size 0", "--batch-size")],
    "explain": [
        PRECISION,
        WEIGHTS,
        PART,
        SIZE,
        LIMIT,
        ("--grid 3", "--grid is '3'"),
        ("--format jpeg", "unknown format"),
        ("--figure gif", "unknown kind of figure"),
        ("--colours none", "unknown colour map"),
        ("--sheet none", "unknown sheet or method"),
        ("--method none", "unknown method"),
        ("--query 3", "--query is '3'"),
        ("--against cat", "needs a --target"),
        ("--steps 3", "takes no --steps"),
    ],
    "caption": [
        PRECISION,
        LIMIT,
        ("--format jpeg", "unknown format"),
        ("--colours none", "unknown colour map"),
        ("--method none", "unknown method"),
        ("--row none", "unknown row"),
        ("--style none", "unknown style"),
        ("--truth none", "none tells no regions"),
        ("--captions none.csv", "there is no none.csv"),
        ("--which 1", "--which 1 is of captions"),
    ],
    "evaluate": [
        PRECISION,
        WEIGHTS,
        PART,
        SIZE,
        LIMIT,
        COLUMN,
        ("--label nocolumn", "unknown column"),
        ("--slice nocolumn", "unknown column"),
        ("--task none", "unknown task"),
        ("--predictions none.csv", "there is no file none.csv"),
    ],
    "train": [
        WEIGHTS,
        PART,
        SIZE,
        LIMIT,
        COLUMN,
        ("--label nocolumn", "unknown column"),
        ("--recipe none", "unknown recipe"),
        ("--epochs 0", "epochs"),
        ("--learning-rate -1", "learning"),
    ],
    "registers": [WEIGHTS, PART, SIZE, LIMIT, ("--margin 3", "margin is 3"), ("--masks none", "none is no source")],
    "positions": [
        WEIGHTS,
        PART,
        SIZE,
        LIMIT,
        ("--scale none", "unknown scale"),
        ("--permutations 0", "--permutations is 0"),
        ("--from-grid x", "--from-grid is 'x'"),
        ("--interpolation none", "unknown interpolation"),
        ("--layer -1", "--layer"),
    ],
    "compare": [PRECISION, LIMIT, COLUMN],
}
CASES = [(line.format(data, out), message) for line in LINES.values() for data, out, message in EVERY.values()] + [
    (f"{LINES[name].format('pics', 'new')} {option}", part) for name, rows in OPTIONS.items() for option, part in rows
]

WATCH = """
import contextlib, io, json, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise KeyError("torch is imported")
sys.meta_path.insert(0, Watch())
from regard.app.cli import main
results = []
for line in json.load(sys.stdin):
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = main(line.split())
        except BaseException as error:
            code = repr(error)
    results.append([code, err.getvalue()])
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[object, str]]:
    """What each line ends with, in one process that cannot import torch."""
    folder = tmp_path_factory.mktemp("early")
    (folder / "empty").mkdir()
    (folder / "there").mkdir()
    (folder / "there" / "mine.txt").write_text("mine")
    (folder / "bad.csv").write_text("filename,label\nnone.png,cat\n")
    for name in ("a", "b"):
        (folder / "pics" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (8, 8), (number * 80, len(name), 0)).save(folder / "pics" / name / f"{number}.png")
    done = subprocess.run(
        [sys.executable, "-c", WATCH],
        input=json.dumps([line for line, _ in CASES]),
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        timeout=120,
    )
    return {line: tuple(answer) for (line, _), answer in zip(CASES, json.loads(done.stdout), strict=True)}


@pytest.mark.parametrize(("line", "message"), CASES, ids=[line for line, _ in CASES])
def test_it_is_said_before_torch_is_imported(line: str, message: str, answers: dict[str, tuple[object, str]]) -> None:
    code, err = answers[line]
    assert code in (1, 2), code
    last = "".join(err.partition("regard: ")[1:]).replace("\n", " ")
    assert last.startswith("regard: ") and message in last


def test_the_watch_sees_what_imports_torch(tmp_path: Path) -> None:
    line = f"predict {tmp_path} --out new --device cpu"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    done = subprocess.run(
        [sys.executable, "-c", WATCH],
        input=json.dumps([line]),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert json.loads(done.stdout)[0][0] == "KeyError('torch is imported')"
