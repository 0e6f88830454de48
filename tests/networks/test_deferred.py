"""What the command line imports for one picture, and that what it leaves out is there when it is asked for.

In processes of their own, as imports cannot be taken back; each does several things in turn.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import timm
import torchvision
from PIL import Image

WATCHED = (
    *("PIL", "accelerate", "captum", "huggingface_hub", "jinja2", "matplotlib", "numpy", "pandas", "pyarrow", "rich"),
    *("safetensors", "scipy", "skimage", "sklearn", "threadpoolctl", "timm", "torch", "torchvision", "transformers"),
    *("matplotlib.figure", "numpy.testing", "sympy", "timm.models.naflexvit", "torch._dynamo"),
    *("torchvision.models.detection", "torchvision.ops.roi_align"),
)
"""The packages that regard depends on, and what is heavy in them."""
NETWORK = {"PIL", "numpy", "rich", "safetensors", "timm", "torch", "torchvision"}
"""What a network and a picture need."""


def _process(program: str, *arguments: object) -> list[Any]:
    """The lines of JSON that a program of Python prints, which begins as the command line does."""
    begin = "import json, sys\nfrom regard.networks.sources.deferred import defer_imports\ndefer_imports()\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", begin + program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def test_commands_import_what_they_need(tmp_path: Path) -> None:
    picture = tmp_path / "grey.png"
    Image.new("RGB", (40, 30), "grey").save(picture)
    steps = (
        (["methods"], set()),
        (["predict", picture, "--out", tmp_path / "predicted.csv"], NETWORK),
        (["explain", picture, "--out", tmp_path / "maps"], set()),
        (["caption", picture, "--model", "scenes-captioner", "--out", tmp_path / "captions"], set()),
        (["explain", picture, "--out", tmp_path / "maps.parquet"], {"pyarrow", "pandas"}),  # pyarrow asks pandas
        (["explain", picture, "--out", tmp_path / "figures", "--figure", "svg"], {"matplotlib", "matplotlib.figure"}),
    )
    program = """
from regard.app.cli import main
before = set()
for words in json.loads(sys.argv[1]):
    assert main(words) == 0
    now = {name for name in json.loads(sys.argv[2]) if name in sys.modules}
    print(json.dumps(sorted(now - before)))
    before = now
"""
    words = json.dumps([list(map(str, words)) for words, _ in steps])
    imported = [set(names) for names in _process(program, words, json.dumps(WATCHED))]
    assert imported == [new for _, new in steps]


def test_what_is_deferred_is_there_when_it_is_asked_for() -> None:
    program = """
from regard.networks.load import load
import timm, torchvision
from timm.models import vision_transformer
names = [load(name).name for name in ("random:deit_tiny_patch16_224", "random:test_vit2")]
print(json.dumps([*names, timm.__version__, "torch._dynamo" in sys.modules, "timm.models.naflexvit" in sys.modules]))
print(json.dumps([load("random:cait_xxs24_224").name, "timm.models.naflexvit" in sys.modules]))
print(json.dumps(["nms" in dir(torchvision.ops), "torchvision.models.detection" in sys.modules]))
from timm.models._builder import has_hf_hub
print(json.dumps(["huggingface_hub" in sys.modules, has_hf_hub(), "huggingface_hub" in sys.modules]))
print(json.dumps(torchvision.models.list_models()))
print(json.dumps(timm.list_models(pretrained=True)))
from timm import models
assert timm.models is models and models.vision_transformer is vision_transformer
assert timm.layers.create_norm.FrozenBatchNorm2d is torchvision.ops.FrozenBatchNorm2d
assert type(timm.models) is type(timm) is type(torchvision.ops) is type(sys)
try:
    timm.models.no_such_thing
except AttributeError as error:
    print(json.dumps([str(error)]))
"""
    plain, another, deferred, fetching, of_torchvision, of_timm, missing = _process(program)
    assert plain == ["deit_tiny_patch16_224", "test_vit2", timm.__version__, False, False]
    assert another == ["cait_xxs24_224", True]
    assert deferred == [True, False]
    assert fetching == [False, True, True]
    assert of_torchvision == torchvision.models.list_models()
    assert of_timm == timm.list_models(pretrained=True)
    assert missing == ["module 'timm.models' has no attribute 'no_such_thing'"]


def test_what_is_no_function_of_timms_fetching_is_what_it_is() -> None:
    program = """
import timm.models._builder
from timm.models import _hub
before = "huggingface_hub" in sys.modules
print(json.dumps([before, _hub.HF_WEIGHTS_NAME, _hub._has_hf_hub, "hf_split" in _hub.__all__]))
"""
    assert _process(program) == [[False, "pytorch_model.bin", True, True]]
