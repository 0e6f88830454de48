"""What networks compute in: which precision a machine gets, what results say of it, and what stays in float32."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import timm
import torch
from captioners import picture
from PIL import Image

import regard
from regard import Captioner, Classifier, Explainer
from regard.errors import UsageError
from regard.explanation import METHODS
from regard.explanation.pictures.explain import at_precision_of
from regard.networks.network import Network
from regard.networks.precision import best_precision

CPU = torch.device("cpu")


def machine(monkeypatch: pytest.MonkeyPatch, amx: bool = False, avx: bool = False, gpu: bool = False) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx, raising=False)
    # GPUs without bfloat16 emulate it, which torch counts unless it is told not to
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: gpu or including_emulation)


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    module = timm.create_model("test_vit", num_classes=5, img_size=32)
    return regard.load(module, classes=list("abcde"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), np.uint8)
    (tmp_path / "pictures").mkdir()
    for index, each in enumerate(pixels):
        Image.fromarray(each).save(tmp_path / "pictures" / f"{index}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize(("amx", "avx"), [(True, False), (False, True), (True, True), (False, False)])
def test_auto_is_bfloat16_where_the_cpu_multiplies_it(monkeypatch: pytest.MonkeyPatch, amx: bool, avx: bool) -> None:
    machine(monkeypatch, amx, avx)
    assert best_precision("auto", CPU) == ("bfloat16" if amx or avx else "float32")
    assert best_precision("auto", torch.device("mps")) == "float32"
    assert best_precision("float32", CPU) == "float32" and best_precision("bfloat16", CPU) == "bfloat16"


@pytest.mark.parametrize("gpu", [True, False])
def test_auto_is_bfloat16_on_gpus_that_do_not_emulate_it(monkeypatch: pytest.MonkeyPatch, gpu: bool) -> None:
    machine(monkeypatch, amx=True, gpu=gpu)
    assert best_precision("auto", torch.device("cuda")) == ("bfloat16" if gpu else "float32")


def test_a_bad_value_is_refused_with_what_there_is(network: Network) -> None:
    calls = (
        lambda: regard.load(network, precision="bfloat61"),
        lambda: Explainer(network.module, precision="bfloat61"),
        lambda: Captioner(precision="bfloat61"),
    )
    for call in calls:
        with pytest.raises(UsageError, match=r"bfloat61.*bfloat16"):
            call()


def test_auto_is_what_the_machine_has_in_every_predictor(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    for amx, precision in ((True, "bfloat16"), (False, "float32")):
        machine(monkeypatch, amx)
        explained = Explainer(network, precision="auto")(pixels)
        classified = Classifier(network, precision="auto")(pixels)
        assert explained.provenance["precision"] == classified.provenance["precision"] == precision
    assert network.precision == "float32"


def test_the_pixels_are_read_in_float32_and_blocks_compute_in_bfloat16(network: Network) -> None:
    types = {}
    module = network.module
    parts = {"stem": module.patch_embed.proj, "qkv": module.blocks[0].attn.qkv}
    for name, part in parts.items():
        part.register_forward_hook(lambda part, args, output, name=name: types.update({name: output.dtype}))
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    hooks = len(parts["stem"]._forward_hooks), len(parts["stem"]._forward_pre_hooks)
    logits = replace(network, precision="bfloat16").logits(pixels)
    assert types == {"stem": torch.float32, "qkv": torch.bfloat16}
    assert (len(parts["stem"]._forward_hooks), len(parts["stem"]._forward_pre_hooks)) == hooks
    assert not torch.is_autocast_enabled("cpu")
    torch.testing.assert_close(logits.float(), network.logits(pixels), rtol=0.05, atol=0.05)
    assert types == {"stem": torch.float32, "qkv": torch.float32}


def test_gradcam_differentiates_in_float32(network: Network) -> None:
    """Behind the layer alone; its map, a sum that nearly cancels, is near that of float32."""
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    types = []
    network.module.blocks[-1].mlp.fc1.register_forward_hook(lambda part, args, output: types.append(output.dtype))
    network.module.blocks[0].mlp.fc1.register_forward_hook(lambda part, args, output: types.append(output.dtype))
    function = METHODS.load("gradcam")
    right = function(network, pixels, target=1).values
    types.clear()
    maps = function(replace(network, precision="bfloat16"), pixels, target=1).values
    assert types[0] == torch.bfloat16 and set(types[1:]) == {torch.float32}
    assert np.abs(maps - right).max() <= 0.02 * np.abs(right).max()


STAYS = [row.name for row in METHODS if not row.reduced and row.kind == "picture"]


@pytest.mark.parametrize("name", STAYS[:2])
def test_a_method_that_does_not_hold_stays_in_float32_and_says_so(
    name: str, network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    with caplog.at_level("INFO"):
        explanation = Explainer(network, precision="bfloat16")(pixels, method=name)
    assert [each for each in caplog.messages if f"{name} computes in float32" in each and "bfloat16" in each]
    assert explanation.provenance["precision"] == "float32"
    np.testing.assert_array_equal(explanation.maps, Explainer(network)(pixels, method=name).maps)
    assert at_precision_of(METHODS["attention"], replace(network, precision="bfloat16")).precision == "bfloat16"


def test_a_method_that_holds_computes_in_bfloat16_and_says_nothing(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    with caplog.at_level("INFO"):
        explanation = Explainer(network, precision="bfloat16")(pixels, method="legrad")
    assert "computes in" not in caplog.text and explanation.provenance["precision"] == "bfloat16"
    right = Explainer(network)(pixels, method="legrad").maps
    assert 0 < np.abs(explanation.maps - right).max() <= 0.15 * np.abs(right).max()


def test_results_say_what_they_were_computed_in(network: Network, folder: Path, tmp_path: Path) -> None:
    how = {"model": network, "precision": "bfloat16", "workers": 0}
    regard.explain(folder, tmp_path / "maps", **how)
    assert json.loads((tmp_path / "maps" / "manifest.json").read_text())["provenance"]["precision"] == "bfloat16"
    regard.explain(folder, tmp_path / "maps.parquet", **how)
    assert b'"precision": "bfloat16"' in b"".join(pq.read_schema(tmp_path / "maps.parquet").metadata.values())


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_an_unfinished_result_of_another_precision_is_begun_anew(
    command: str,
    folder: Path,
    tmp_path: Path,
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    function = getattr(regard, command)
    how = {"batch_size": 1, "workers": 0, "model": network}
    out = tmp_path / ("answers.csv" if command == "predict" else "result.parquet")
    whole = Network.forward
    calls: list[int] = []

    def stop(*args: object, **settings: object) -> object:
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return whole(*args, **settings)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Network, "forward", stop)
        function(folder, out, **how)
    with caplog.at_level("INFO"):
        function(folder, out, precision="bfloat16", **how)
    assert "starting anew" in caplog.text
    function(folder, tmp_path / f"again{out.suffix}", precision="bfloat16", **how)
    assert out.read_bytes() == (tmp_path / f"again{out.suffix}").read_bytes()


def test_captions_stay_in_float32_and_say_so(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(60, 100)
    right = Captioner()(image, "a cat on the grass")
    assert "float32" not in caplog.text
    with caplog.at_level("INFO"):
        captioner = Captioner(precision="bfloat16")
    assert caplog.text.count("captions are made in float32") == 1
    np.testing.assert_array_equal(captioner(image, "a cat on the grass").maps, right.maps)
    caplog.clear()
    caplog.set_level("INFO")
    for amx in (False, True):
        machine(monkeypatch, amx)
        assert Captioner(captioner.network, precision="auto").network is captioner.network
        assert ("captions are made in float32" in caplog.text) == amx
