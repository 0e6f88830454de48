"""What all tests share: the reference data beside the project, and a quiet, small machine."""

import os
from pathlib import Path

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
