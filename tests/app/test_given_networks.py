"""Modules and loaded networks in the commands, called from Python: they work, or one line says what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from tiny_training import SMALL
from torch import nn

import regard
from regard.errors import NetworkError, RegardError, UsageError
from regard.networks.network import Network
from regard.networks.run import load_run

STORED = Path(__file__).parents[1] / "stored"
COLOURS = {"blue": (40, 60, 220), "red": (220, 50, 40)}


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", num_classes=2, **SMALL).eval()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        for number in range(3):
            Image.new("RGB", (40, 32), tuple(each + number for each in colour)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(params=["module", "network"])
def given(request: pytest.FixtureRequest, module: nn.Module) -> nn.Module | Network:
    return module if request.param == "module" else regard.load(module, classes=list(COLOURS))


def test_explain_and_positions_take_them(given: Any, module: nn.Module, data: Path, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = regard.explain(data, model=given, method="gradcam", workers=0).explanation
    again = regard.Explainer(given)([data / "blue" / "0.png"], method="gradcam")
    assert found.maps.shape == (6, 4, 4) and np.allclose(found.maps[0], again.maps[0], atol=1e-6)
    result = regard.positions(tmp_path / "positions", model=given, permutations=9)
    assert result.positions.rows == 4 and (tmp_path / "positions" / "numbers.json").is_file()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_evaluate_and_predict_take_a_network_with_names(module: nn.Module, data: Path, tmp_path: Path) -> None:
    network = regard.load(module, classes=list(COLOURS))
    evaluation = regard.evaluate(data, network, workers=0).evaluation
    assert evaluation.n == 6
    regard.predict(data, tmp_path / "rows.csv", network, workers=0)
    labels = [line.split(",")[1] for line in (tmp_path / "rows.csv").read_text().splitlines()[1:]]
    assert evaluation.scores["top1"].value == pytest.approx(np.mean(np.array(labels) == ["blue"] * 3 + ["red"] * 3))
    with pytest.raises(NetworkError, match=r"have no names.*regard\.load\(module, classes=\[\.\.\.\]\)"):
        regard.evaluate(data, module, workers=0)


def test_a_network_that_was_read_from_a_run_knows_what_it_was_trained_on() -> None:
    """As the run's folder does: pictures of the training are left out, or the number is marked."""
    data = STORED / "scenes"
    by_folder = regard.evaluate(data, STORED / "probe", workers=0).evaluation
    by_network = regard.evaluate(data, load_run(STORED / "probe"), workers=0).evaluation
    assert (by_network.n, by_network.note) == (by_folder.n, by_folder.note)
    assert by_network.scores["top1"].value == by_folder.scores["top1"].value


def test_a_captioner_that_is_loaded_is_scored() -> None:
    captioner = regard.Captioner(STORED / "captioner").network
    by_network = regard.evaluate(STORED / "scenes", captioner).evaluation
    by_folder = regard.evaluate(STORED / "scenes", STORED / "captioner").evaluation
    assert by_network.captions == by_folder.captions and by_network.n == by_folder.n > 0
    with pytest.raises(UsageError, match="captioner is a run of captioning, which --task classify does not fit"):
        regard.evaluate(STORED / "scenes", captioner, task="classify")


def test_a_loaded_network_stays_as_it_was_loaded(module: nn.Module) -> None:
    network = regard.load(module, classes=list(COLOURS), precision="bfloat16")
    again = regard.load(network)
    assert again.module is module and again.classes == network.classes and again.precision == "bfloat16"
    assert regard.load(network, size=32).preparation == network.preparation
    other = regard.load(network, classes=5)
    assert other.outputs == 5 and network.outputs == 2


def picture() -> np.ndarray:
    return np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda module, data, out: regard.explain(module, data), "regard.explain(PICTURES, model=...)"),
        (lambda module, data, out: regard.explain(regard.load(module), data), "came as a network (Network)"),
        (lambda module, data, out: regard.explain(regard.Explainer(module), data), "came as a network (Explainer)"),
        (lambda module, data, out: regard.explain(nn.Sequential(nn.Flatten()), data), "a network (Sequential)"),
        (lambda module, data, out: regard.explain(picture(), model=module), "regard.Explainer(model)(picture)"),
        (lambda module, data, out: regard.explain([picture()], model=module), "pictures came as ndarray"),
        (lambda module, data, out: regard.explain(Image.new("RGB", (8, 8)), model=module), "pictures came as Image"),
        (lambda module, data, out: regard.explain(data, model=regard.Explainer(module)), "give its .network"),
        (
            lambda module, data, out: regard.explain(data, model=regard.Captioner(STORED / "captioner").network),
            "EncoderDecoderCaptioner, which is none; it captions: give it to regard.Captioner or regard.caption",
        ),
        (lambda module, data, out: regard.explain(data, model=3), "a network came as int"),
        (lambda module, data, out: regard.explain(data, model=regard.load(module), size=64), "is loaded already"),
        (lambda module, data, out: regard.explain(data, model=regard.load(module), grid=(4, 4)), "is loaded already"),
        (lambda module, data, out: regard.predict(module, out), "regard.predict(PICTURES, model=...)"),
        (lambda module, data, out: regard.caption(module, out), "regard.caption(PICTURES, model=...)"),
        (lambda module, data, out: regard.caption(data, out, regard.load(module)), "a Network cannot caption"),
        (lambda module, data, out: regard.caption(data, out, module), "no vocabulary to caption with"),
        (lambda module, data, out: regard.evaluate(module, data), "regard.evaluate(DATA, model=...)"),
        (lambda module, data, out: regard.evaluate([data], module), "data came as list"),
        (
            lambda module, data, out: regard.evaluate(STORED / "scenes", module, task="caption"),
            "no vocabulary to caption with",
        ),
        (lambda module, data, out: regard.train(module, out), "regard.train(DATA, model=...)"),
        (lambda module, data, out: regard.train(data, out, model=module), "which no recipe can name again"),
        (lambda module, data, out: regard.registers(module, out), "regard.registers(DATA, model=...)"),
        (lambda module, data, out: regard.positions(out, module, pictures=module), "regard.positions(PICTURES, model"),
    ],
)
def test_what_cannot_be_is_one_line_that_says_what_to_do(
    call: Callable[..., object], words: str, module: nn.Module, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(RegardError) as caught:
        call(module, data, tmp_path / "out")
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
