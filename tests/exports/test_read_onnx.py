"""An exported file is read where there is nothing but onnxruntime, numpy and Pillow; and `export` writes such files."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from small_graphs import CLASSES, graph
from tiny_vits import CLS

from regard.errors import UsageError
from regard.exports.onnx import metadata
from regard.exports.onnx.preparation import prepared
from regard.exports.onnx.write import write
from regard.exports.settings import ExportSettings
from regard.exports.source import ExportSource
from regard.networks.load import load

EXAMPLE = Path(__file__).parents[2] / "examples" / "read_onnx.py"
NEEDED = ("onnxruntime", "numpy", "pillow")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment in which only `NEEDED` are installed, from uv's cache."""
    folder = tmp_path_factory.mktemp("alone") / "environment"
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed: the example is NOT run in an empty environment")
    subprocess.run([uv, "venv", "--quiet", "--offline", "--python", sys.executable, folder], check=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    pinned = [f"{name}=={version(name)}" for name in NEEDED]
    command = [uv, "pip", "install", "--quiet", "--offline", "--python", python, *pinned]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"uv's cache lacks {', '.join(pinned)}: the example is NOT run in an empty environment")
    return python


def exported(path: Path) -> Path:
    source = ExportSource("tiny", load(CLS.network().module, classes=CLASSES))
    model = prepared(graph(), source.preparation)
    metadata.attach(model, source)
    onnx.save(model, path)
    return path


def test_the_example_reads_a_graph_in_an_environment_without_torch(alone: Path, tmp_path: Path) -> None:
    path = exported(tmp_path / "small.onnx")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)).save(tmp_path / "picture.png")
    code = "import importlib.util as u; print([n for n in ('torch', 'regard', 'onnx', 'timm') if u.find_spec(n)])"
    lacking = subprocess.run([alone, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert lacking.stdout.strip() == "[]"
    command = [alone, "-I", EXAMPLE, path, tmp_path / "picture.png", tmp_path / "map.png"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first in {f"class: {name}" for name in CLASSES}
    assert second == "map: no audit has tested whether it is to be believed"
    with Image.open(tmp_path / "map.png") as drawn:
        assert drawn.size == (70, 90)
        assert np.ptp(np.asarray(drawn)) > 200


def test_the_example_has_twenty_lines() -> None:
    text = EXAMPLE.read_text(encoding="utf-8").split('"""')[2]
    assert len([line for line in text.splitlines() if line.strip()]) <= 20


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (ExportSettings(prepare=True, batch=4), r"--prepare takes one picture at a time.*leave out --batch 4"),
        (
            ExportSettings(data=Path("pictures")),
            r"--data is what variants are measured on; give --variant fp16 or int8",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: ExportSettings, words: str, tmp_path: Path) -> None:
    source = ExportSource("tiny", load(CLS.network().module, classes=CLASSES))
    with pytest.raises(UsageError, match=words):
        write(source, tmp_path / "a.onnx", settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of torch's exporter
def test_a_run_is_written_with_its_preparation_and_what_eight_bits_cost(tmp_path: Path) -> None:
    source = ExportSource("tiny", load(CLS.network().module, classes=CLASSES))
    random = np.random.default_rng(0)
    for number in range(6):
        folder = tmp_path / "data" / CLASSES[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / f"{number}.png")
    out = tmp_path / "small.onnx"
    result = write(source, out, ExportSettings(variant="int8", prepare=True, data=tmp_path / "data"))
    parity = {each.what: each.value for each in result.parity}
    assert parity["logits of raw pixels"] < 1e-6
    assert [row.name for row in result.variants] == ["fp32", "int8"]
    found = metadata.read(out)
    assert found.variants["this"] == "int8"
    assert found.variants["rows"][1]["accuracy"]["n"] == 6
    assert found.variants["notes"][0] == "measured on 6 pictures of data, each seen alone"
    assert json.dumps(found.graph["outputs"]) == '["logits", "attention", "map"]'
    assert result.notes[-len(found.variants["notes"]) :] == tuple(found.variants["notes"])
