"""What networks compute in: which precision a machine gets, what results say of it, and what stays in float32."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import timm
import torch
from captioners import encoder_decoder, picture
from PIL import Image
from tiny_captions import caption_recipe, caption_sides, draw_captioned, tiny_captioner

import regard
from regard import Captioner, Classifier, Explainer
from regard.errors import UsageError
from regard.explanation import METHODS
from regard.explanation.pictures.explain import at_precision_of
from regard.networks.captioners.decoding import beam_search, greedy
from regard.networks.captioners.families.encoder_decoder import EncoderDecoderCaptioner
from regard.networks.captioners.run import save_captioner
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


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> EncoderDecoderCaptioner:
    training, _ = caption_sides(draw_captioned(tmp_path_factory.mktemp("captioned")))
    return tiny_captioner(training, caption_recipe())


def encoded_and_decoded(captioner: EncoderDecoderCaptioner) -> dict[str, set[torch.dtype]]:
    """The types of numbers that come of parts of the encoder and the decoder, noted from now on."""
    module = captioner.module
    layer = module.decoder_layers[0]
    parts = {
        "stem": module.encoder.patch_embed.proj,
        "encoder": module.encoder.blocks[0].mlp.fc1,
        "projection": module.speech.project[1],
        "keys": layer.multihead_attn.out_proj,
        "decoder": layer.linear1,
    }
    types: dict[str, set[torch.dtype]] = {name: set() for name in parts}
    for name, part in parts.items():
        part.register_forward_hook(lambda part, args, output, name=name: types[name].add(output.dtype))
    return types


def test_captions_are_encoded_in_bfloat16_and_written_in_float32(
    captioner: EncoderDecoderCaptioner, caplog: pytest.LogCaptureFixture
) -> None:
    captioner = deepcopy(captioner)
    images = [picture(60, 100), picture(40, 40, 1), picture(90, 50, 2)]
    right = [Captioner(captioner)(image, "a red square") for image in images]
    types = encoded_and_decoded(captioner)
    with caplog.at_level("INFO"):
        reduced = Captioner(captioner, precision="bfloat16")
        captions = reduced(images, ["a red square"] * 3, depends=True)
    assert types.pop("encoder") == {torch.bfloat16}
    assert types == {name: {torch.float32} for name in types}
    assert "float32" not in caplog.text and not torch.is_autocast_enabled("cpu")
    assert captioner.precision == "float32" and reduced.network.module is captioner.module
    for caption, other in zip(captions, right, strict=True):
        assert (other.provenance["precision"], caption.provenance["precision"]) == ("float32", "bfloat16")
        assert caption.maps.dtype == np.float32 and caption.maps.shape == other.maps.shape
        assert 0 < np.abs(caption.maps - other.maps).max() <= 0.15 * other.maps.max()
        assert caption.log_probability == pytest.approx(other.log_probability, abs=0.05)
        np.testing.assert_allclose(caption.maps.sum((1, 2)), 1, atol=1e-5)  # attention to the picture


def test_maps_of_words_that_do_not_hold_are_made_in_float32(
    captioner: EncoderDecoderCaptioner, caplog: pytest.LogCaptureFixture
) -> None:
    image = picture(60, 100)
    right = Captioner(captioner)(image, "a red square", method="grad_cross_attention")
    with caplog.at_level("INFO"):
        reduced = Captioner(captioner, precision="bfloat16")
        caption = reduced(image, "a red square", method="grad_cross_attention")
    assert caplog.text.count("grad_cross_attention computes in float32") == 1
    assert reduced.network.precision == "bfloat16" and caption.provenance["precision"] == "float32"
    np.testing.assert_array_equal(caption.maps, right.maps)


@pytest.mark.parametrize("beams", [1, 3])
def test_generated_captions_are_those_of_the_encoder_in_bfloat16(
    captioner: EncoderDecoderCaptioner, beams: int
) -> None:
    images = [picture(60, 100), picture(40, 40, 1)]
    captions = Captioner(captioner, precision="bfloat16")(images, beams=beams)
    pixels = torch.stack([captioner.prepare(image).inputs["pixels"] for image in images])
    with torch.no_grad():
        encoded = captioner.module.encode(pixels, precision="bfloat16")
        plain = captioner.module.encode(pixels)
    assert {each.dtype for each in (*encoded.keys, *encoded.values)} == {torch.float32}
    ratios = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(encoded.keys, plain.keys, strict=True)]
    assert all(0 < ratio < 0.05 for ratio in ratios)
    decodings = beam_search(captioner.module, encoded, beams) if beams > 1 else greedy(captioner.module, encoded)
    assert [caption.text for caption in captions] == [captioner.text(each.tokens) for each in decodings]
    logs = [float(each.log_probabilities.sum()) for each in decodings]
    assert [caption.log_probability for caption in captions] == pytest.approx(logs, abs=1e-5)


def test_a_training_of_captions_in_bfloat16_has_its_encoder_in_it(captioner: EncoderDecoderCaptioner) -> None:
    captioner = deepcopy(captioner)
    types = encoded_and_decoded(captioner)
    with torch.autocast("cpu", torch.bfloat16):
        captioner.module(torch.zeros(1, 3, 32, 32), torch.zeros(1, 2, dtype=torch.long))
    assert types["stem"] == types["encoder"] == types["decoder"] == {torch.bfloat16}


def test_captioners_that_were_not_measured_stay_in_float32_and_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture(60, 100)
    folder = encoder_decoder(tmp_path)
    right = Captioner(folder)(image, "a cat")
    assert "float32" not in caplog.text and right.provenance["precision"] == "float32"
    caplog.set_level("INFO")
    captioner = Captioner(folder, precision="bfloat16")
    assert caplog.text.count(f"{captioner.network.name} captions in float32") == 1
    caption = captioner(image, "a cat")
    assert caption.provenance["precision"] == "float32"
    np.testing.assert_array_equal(caption.maps, right.maps)
    caplog.clear()
    for amx in (False, True):
        machine(monkeypatch, amx)
        assert Captioner(captioner.network, precision="auto").network is captioner.network
        assert ("captions in float32" in caplog.text) == amx


def test_a_given_captioner_keeps_its_precision_unless_another_is_asked_for(
    captioner: EncoderDecoderCaptioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, amx=True)
    reduced = Captioner(captioner, precision="auto").network
    assert reduced.precision == "bfloat16" and Captioner(reduced).network is reduced
    machine(monkeypatch, amx=False)
    assert Captioner(reduced, precision="auto").network.precision == "float32"
    assert reduced.precision == "bfloat16"


def test_scores_of_captions_say_what_they_were_computed_in(captioner: EncoderDecoderCaptioner, tmp_path: Path) -> None:
    data = draw_captioned(tmp_path / "data")
    save_captioner(captioner, tmp_path / "run")
    for precision in ("float32", "bfloat16"):
        out = tmp_path / precision
        regard.evaluate(data, tmp_path / "run", task="caption", precision=precision, out=out, no_pictures=True)
        assert json.loads((out / "manifest.json").read_text())["provenance"]["precision"] == precision


@pytest.mark.parametrize("suffix", ["", ".parquet"])
def test_unfinished_captions_of_another_precision_are_begun_anew(
    captioner: EncoderDecoderCaptioner,
    folder: Path,
    tmp_path: Path,
    suffix: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    how = {"batch_size": 1, "model": captioner}
    out = tmp_path / f"captions{suffix}"
    whole = EncoderDecoderCaptioner.generate
    calls: list[int] = []

    def stop(*args: object, **settings: object) -> object:
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return whole(*args, **settings)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(EncoderDecoderCaptioner, "generate", stop)
        regard.caption(folder, out, **how)
    with caplog.at_level("INFO"):
        regard.caption(folder, out, precision="bfloat16", **how)
    assert "starting anew" in caplog.text
    again = tmp_path / f"again{suffix}"
    regard.caption(folder, again, precision="bfloat16", **how)
    files = ["captions.json", "manifest.json"] if not suffix else [""]
    for file in files:
        assert (out / file).read_bytes() == (again / file).read_bytes()
        assert b'"precision": "bfloat16"' in (out / file).read_bytes() or file == "captions.json"
