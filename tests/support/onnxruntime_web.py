"""onnxruntime-web, with which the network of a live page runs in the browser tests.

`make runtime` fetches the pinned version (tests/support/onnxruntime_web/package-lock.json, whose hashes npm checks)
beside the environment. Without it the tests that use it are skipped, loudly.
"""

import sys
from pathlib import Path

import pytest

FOLDER = Path(sys.prefix) / "onnxruntime_web" / "node_modules" / "onnxruntime-web"


def runtime_folder() -> Path:
    """Where onnxruntime-web is; the test is skipped where it is not."""
    if not (FOLDER / "dist").is_dir():
        pytest.skip("needs onnxruntime-web, which `make runtime` fetches with npm: whether live pages work is untried")
    return FOLDER
