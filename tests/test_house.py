"""What must hold of the house: pinned versions, light imports, one list of options, nothing that does not belong."""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import regard
from regard.app.cli import parameters_of
from regard.app.commands import COMMANDS
from regard.explanation import METHODS
from regard.measurement import METRICS
from regard.training.tasks.table import TASKS, all_settings

ROOT = Path(__file__).parents[1]


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: there is no list of tracked files to look through")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-run.lock", "requirements-uv.lock"])
def test_the_lock_pins_names_versions_and_hashes_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+==\S+", entry), entry
        assert entry.count("--hash=sha256:") >= 1, entry
    assert not re.search(r"https?://|file:|--index|--find-links", text)


def test_what_the_project_needs_is_in_the_lock() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    pinned = set(
        re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    )
    names = {re.match(r"[A-Za-z0-9._-]+", need).group().lower() for need in needed}  # type: ignore[union-attr]
    assert names <= pinned, f"run `make lock`: {sorted(names - pinned)}"


def test_nothing_that_does_not_belong_is_tracked() -> None:
    tracked = _tracked()
    assert "uv.lock" not in {path.name for path in tracked}
    address = re.compile(r"(/work/|/root/|files\.pythonhosted|pypi\.org|registry\.npmjs)")
    for path in tracked:
        if path.suffix in {".py", ".md", ".toml", ".lock", ".html", ".css", ".js", ".jsonl", ".json", ""}:
            if path == Path(__file__):
                continue
            found = address.search(path.read_text(encoding="utf-8", errors="replace"))
            assert found is None, f"{path.relative_to(ROOT)} names {found.group()}"


def test_help_imports_nothing_heavy() -> None:
    """`regard --help` within half a second: no torch, numpy, pandas or matplotlib before a command runs."""
    code = (
        "import sys; from regard.app.cli import main; main(['--help']); "
        "heavy = {'torch', 'numpy', 'pandas', 'matplotlib', 'sklearn', 'transformers', 'timm'} & set(sys.modules); "
        "print('HEAVY', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert "HEAVY []" in done.stdout


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_a_command_line_takes_what_the_function_takes(name: str) -> None:
    """All of it; and every option says what it is."""
    parameters = inspect.signature(getattr(regard, name)).parameters
    read = {each.name: each for each in parameters_of(getattr(regard, name))}
    missing = {each for each in parameters if each not in read and each != "settings"}
    assert not missing
    for each in read.values():
        assert get_args(each.annotation)[1].help, each.name
    if "settings" in parameters:
        assert set(all_settings()) <= set(read)


@pytest.mark.parametrize("table", [METHODS, METRICS, TASKS], ids=lambda table: table.kind)
def test_every_row_points_to_a_function_and_names_its_source(table) -> None:
    assert len(table) > 0
    for row in table:
        assert callable(table.load(row.name)), row.name
        assert row.description, row.name
        assert table is TASKS or row.source, row.name


def test_no_two_test_files_have_one_name() -> None:
    """pytest collects them as modules of one name, and stops at the second."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len({*names})
