"""What all tests share: the reference data beside the project, and a quiet, small machine."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before any test imports transformers: no test may reach for a network
os.environ.setdefault("MPLBACKEND", "Agg")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data, weights and reference values beside the project; a stranger's clone lacks it."""
    if not (SHARED / "DESIGN.md").is_file():
        pytest.skip(f"needs the reference data and weights in {SHARED.name}/ beside the project, which is not here")
    return SHARED


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line: its exit code, stdout and stderr."""
    from regard.app.cli import main

    def command(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless chromium, started once for the tests of a file."""
    from browser import launched

    with launched() as started:
        yield started
