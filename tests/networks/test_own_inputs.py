"""The input that a network gets is the one of its own library, or it is refused: processors, timm's folders, heads."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES as PROCESSORS
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as CLASSIFIERS

from regard.data.images.preparation import Preparation, read_pixels
from regard.errors import NetworkError, UsageError
from regard.networks.load import load
from regard.networks.predict import batch_probabilities
from regard.networks.run import load_run, save_network
from regard.networks.sources.processors import preparation_of
from regard.predictors.explainer import Explainer

SIZES = ((320, 240), (240, 331), (500, 500), (641, 427))  # (width, height)
KINDS = sorted({name for kind in CLASSIFIERS for name in (PROCESSORS.get(kind) or {}).values()})
REFUSED = ("DonutImageProcessor", "ImageGPTImageProcessor", "PerceiverImageProcessor", "TextNetImageProcessor")


def picture(size: tuple[int, int], seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def difference(processor: Any, preparation: Preparation, sizes: Any = SIZES) -> float:
    """The largest mean difference between what the two make of some pictures, in units of white."""
    differences = []
    for size in sizes:
        image = picture(size)
        given = image if preparation.channels == 3 else image.convert("L")
        theirs = torch.as_tensor(np.asarray(processor(given, return_tensors="pt")["pixel_values"][0])).float()
        ours = preparation.tensor(image)
        assert theirs.shape == ours.shape
        differences.append(float(((theirs - ours) * torch.tensor(preparation.std).view(-1, 1, 1)).abs().mean()))
    return max(differences)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "TimmWrapperImageProcessor"])
def test_every_classifiers_processor_is_done_alike_or_refused(kind: str) -> None:
    name = kind.removesuffix("Pil")
    processor = getattr(transformers, kind)(**{"size": (192, 256)} if name == "DonutImageProcessor" else {})
    if name in REFUSED:
        with pytest.raises(
            NetworkError, match=f"prepares its pictures by {name}, which regard cannot do alike"
        ) as caught:
            preparation_of(processor.to_dict(), "vit", "m")
        assert "\n" not in str(caught.value)
        return
    preparation, messages = preparation_of(processor.to_dict(), "vit", "m")
    if name == "Siglip2ImageProcessor":
        assert "keeps each picture's aspect" in messages[0]
        return
    assert not messages
    assert difference(processor, preparation) < 1e-3
    assert Preparation.from_json(json.loads(json.dumps(preparation.as_json()))) == preparation


CHANGED: dict[str, tuple[str, dict[str, Any]]] = {
    "not normalised": ("ViTImageProcessor", {"do_normalize": False}),
    "not rescaled": ("ViTImageProcessor", {"do_rescale": False}),
    "neither": ("CLIPImageProcessor", {"do_rescale": False, "do_normalize": False}),
    "another factor": ("ViTImageProcessor", {"rescale_factor": 1 / 127.5, "do_normalize": False}),
    "-1 to 1 by an offset": (
        "EfficientNetImageProcessor",
        {"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False, "include_top": False},
    ),
    "offset, then normalised twice": ("EfficientNetImageProcessor", {"rescale_offset": True, "image_std": [0.2] * 3}),
    "a square, then its centre": ("DeiTImageProcessor", {"size": {"height": 300, "width": 260}}),
    "a short side, then a wide crop": ("CLIPImageProcessor", {"crop_size": {"height": 160, "width": 224}}),
    "a short side with an odd rest": ("CLIPImageProcessor", {"size": {"shortest_edge": 235}, "crop_size": 224}),
    "padded": ("CLIPImageProcessor", {"size": {"shortest_edge": 101}, "crop_size": {"height": 160, "width": 160}}),
    "as it is, its centre": ("CLIPImageProcessor", {"do_resize": False, "crop_size": {"height": 128, "width": 128}}),
    "as it is, padded": ("CLIPImageProcessor", {"do_resize": False, "crop_size": {"height": 400, "width": 400}}),
    "short of 384": ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}}),
    "short, another share": ("ConvNextImageProcessor", {"size": {"shortest_edge": 288}, "crop_pct": 0.95}),
    "blue first, normalised": (
        "MobileViTImageProcessor",
        {"do_normalize": True, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "do_rescale": True},
    ),
    "red first": ("MobileViTImageProcessor", {"do_flip_channel_order": False}),
    "a short side alone": ("PoolFormerImageProcessor", {"crop_pct": None}),
    "a share of two sides": (
        "PoolFormerImageProcessor",
        {"size": {"height": 160, "width": 224}, "crop_size": {"height": 160, "width": 224}, "crop_pct": 0.8},
    ),
    "nearest": ("ViTImageProcessor", {"resample": 0}),
    "not square": ("ViTImageProcessor", {"size": {"height": 96, "width": 192}}),
}


@pytest.mark.parametrize("name", CHANGED)
def test_changed_settings_of_a_processor_are_followed(name: str) -> None:
    kind, settings = CHANGED[name]
    processor = getattr(transformers, kind)(**settings)
    preparation, _ = preparation_of(processor.to_dict(), "vit", "m")
    assert difference(processor, preparation) < (0.01 if name == "nearest" else 1e-3)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("CLIPImageProcessor", {"do_center_crop": False}),
        ("ViTImageProcessor", {"do_resize": False}),
        ("CLIPImageProcessor", {"size": {"shortest_edge": 224, "longest_edge": 300}}),
        ("PPLCNetImageProcessor", {"size_divisor": 64, "resize_short": 200}),
        ("ViTImageProcessor", {"do_pad": True, "pad_size": {"height": 400, "width": 400}}),
        ("ViTImageProcessor", {"image_std": [0.0, 0.0, 0.0]}),
        ("ViTImageProcessor", {"resample": 17}),
        ("MyOwnImageProcessor", {}),
        ("AutoModel", {}),
    ],
)
def test_what_cannot_be_expressed_is_refused_in_one_line(kind: str, settings: dict[str, Any]) -> None:
    stored = {"image_processor_type": kind, **settings}
    with pytest.raises(
        NetworkError, match=r"regard cannot do alike: .*; change its preprocessor_config.json"
    ) as caught:
        preparation_of(stored, "vit", "m")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stored", "model_type", "kind", "settings"),
    [
        ({"feature_extractor_type": "ViTFeatureExtractor", "size": 96}, "vit", "ViTImageProcessor", {"size": 96}),
        ({"image_processor_type": "DeiTImageProcessorFast"}, "deit", "DeiTImageProcessor", {}),
        ({"size": 96}, "clip", "CLIPImageProcessor", {"size": 96}),
        ({"do_resize": True}, "deit", "DeiTImageProcessor", {}),
    ],
)
def test_older_folders_have_the_defaults_of_their_kind(
    stored: dict[str, Any], model_type: str, kind: str, settings: dict[str, Any]
) -> None:
    preparation, _ = preparation_of(stored, model_type, "m")
    assert difference(getattr(transformers, kind)(**settings), preparation, SIZES[:2]) < 1e-3


def small(kind: str = "ViT", size: int = 64, **more: Any) -> Any:
    settings = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    config = getattr(transformers, f"{kind}Config")(**settings, image_size=size, patch_size=16, **more)
    return getattr(transformers, f"{kind}ForImageClassification")(config).eval()


def test_a_deit_folder_sees_what_its_processor_shows_and_its_maps_lie_there(tmp_path: Path) -> None:
    small("DeiT", size=224).save_pretrained(tmp_path / "m")
    processor = transformers.DeiTImageProcessor()
    processor.save_pretrained(tmp_path / "m")
    network = load(tmp_path / "m")
    assert network.messages == ()
    assert difference(processor, network.preparation) < 1e-3
    assert network.preparation.box((256, 512)) == (32.0, 16.0, 480.0, 240.0)
    saved = save_network(network, tmp_path / "run")
    assert load_run(saved).preparation == network.preparation


def test_a_padded_picture_is_black_around_also_when_it_is_decoded_at_a_fraction(tmp_path: Path) -> None:
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 100}, crop_size={"height": 160, "width": 160})
    preparation, _ = preparation_of(processor.to_dict(), "clip", "m")
    picture((2403, 1205)).save(tmp_path / "p.jpg", quality=95)
    pixels, size = read_pixels(tmp_path / "p.jpg", preparation)
    with Image.open(tmp_path / "p.jpg") as image:
        theirs = processor(image, return_tensors="pt")["pixel_values"][0]
    assert float((preparation.normalise(torch.from_numpy(pixels.copy())[None])[0] - theirs).abs().mean()) < 0.02
    left, top, right, bottom = preparation.box(size)
    assert top < 0 < left and bottom > 1205 and right < 2403
    assert not pixels[:30].any() and not pixels[-30:].any() and pixels[31:-31].any()
    module = small(size=160)
    heatmap = Explainer(module, preparation=preparation)(tmp_path / "p.jpg")[0]
    upsampled = heatmap.upsampled()
    assert upsampled.shape == (1205, 2403)
    assert np.isfinite(upsampled[:, 1200]).all()


def test_a_processor_of_another_size_than_the_network_is_said(tmp_path: Path) -> None:
    small(size=64).save_pretrained(tmp_path)
    transformers.ViTImageProcessor().save_pretrained(tmp_path)
    network = load(tmp_path)
    assert (network.preparation.height, network.preparation.width) == (64, 64)
    assert "gives 224 × 224 pixels where its network takes 64 × 64" in " ".join(network.messages)


def test_a_folder_whose_pictures_cannot_be_prepared_alike_takes_a_preparation(tmp_path: Path) -> None:
    small(size=64).save_pretrained(tmp_path)
    transformers.ViTImageProcessor(do_resize=False).save_pretrained(tmp_path)
    with pytest.raises(NetworkError, match="prepares its pictures by ViTImageProcessor"):
        load(tmp_path)
    assert load(tmp_path, preparation=Preparation(64, 64)).preparation == Preparation(64, 64)


def test_what_is_stored_of_a_preparation_without_the_new_settings_is_as_before() -> None:
    stored = Preparation(224, 224).as_json()
    assert list(stored) == ["height", "width", "mode", "crop", "mean", "std", "interpolation"]
    assert Preparation.from_json(stored) == Preparation(224, 224)


# timm's own folders


def test_a_folder_of_timm_is_the_network_with_its_own_preparation(tmp_path: Path) -> None:
    module = timm.create_model(
        "vit_tiny_patch16_224", num_classes=3, depth=1, img_size=(64, 96), pretrained_cfg_overlay={"crop_pct": 0.8}
    ).eval()
    config = {"label_names": ["red", "green", "blue"]}
    timm.models.save_for_hf(module, tmp_path / "m", safe_serialization=True, model_config=config)
    network = load(tmp_path / "m")
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(network.logits(x), module(x))
    assert (network.preparation.height, network.preparation.width, network.preparation.crop) == (64, 96, 0.8)
    assert network.classes == ("red", "green", "blue")
    assert network.anatomy.family == "timm vision_transformer"
    assert network.messages == ()
    assert load_run(save_network(network, tmp_path / "run")).preparation == network.preparation


@pytest.mark.parametrize("form", ["without arguments", "flat", "pickled", "wrapped", "labels by id"])
def test_older_and_wrapped_folders_of_timm(form: str, tmp_path: Path) -> None:
    module = timm.create_model("vit_tiny_patch16_224", num_classes=3, depth=12)
    timm.models.save_for_hf(module, tmp_path, safe_serialization=form != "pickled")
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config.pop("model_args", None)
    config["pretrained_cfg"] |= {"mean": [0.1, 0.2, 0.3], "interpolation": "bilinear"}
    if form == "flat":
        config = {"architecture": config["architecture"], "num_features": 192, **config["pretrained_cfg"]}
        config["num_classes"] = 3
    if form == "wrapped":
        from safetensors.torch import load_file, save_file

        tensors = load_file(tmp_path / "model.safetensors")
        save_file({f"timm_model.{key}": value for key, value in tensors.items()}, tmp_path / "model.safetensors")
        config |= {"model_type": "timm_wrapper", "id2label": {"0": "a", "1": "b", "2": "c"}}
    if form == "labels by id":
        config["label_names"] = {"2": "c", "0": "a", "1": "b"}
    path.write_text(json.dumps(config))
    network = load(f"hf:{tmp_path}")
    assert network.preparation.mean == (0.1, 0.2, 0.3)
    assert network.preparation.interpolation == "bilinear"
    assert network.outputs == 3
    assert network.classes == (("a", "b", "c") if form in ("wrapped", "labels by id") else None)


def test_folders_of_timm_that_cannot_be_built_are_refused_in_one_line(tmp_path: Path) -> None:
    module = timm.create_model("vit_tiny_patch16_224", num_classes=3, depth=1)
    timm.models.save_for_hf(module, tmp_path, safe_serialization=True)
    config = json.loads((tmp_path / "config.json").read_text())
    cases = {
        "is of timm's 'vit_gone'": {"architecture": "vit_gone"},
        "with pretrained_strict changed": {"model_args": {"pretrained_strict": "x"}},
        "do not fit": {"model_args": {"depth": 2}},
    }
    for message, change in cases.items():
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(NetworkError, match=message) as caught:
            load(tmp_path)
        assert "\n" not in str(caught.value)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(NetworkError, match="has no weights"):
        load(tmp_path)


# Heads of several labels


def test_probabilities_are_those_of_transformers_pipeline(tmp_path: Path) -> None:
    names = {"id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2}}
    one = {"id2label": {0: "a"}, "label2id": {"a": 0}}
    for settings in (names, {**names, "problem_type": "multi_label_classification"}, one):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        small(**settings).save_pretrained(folder)
        transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
        network = load(folder)
        image = picture((96, 80))
        pipeline = transformers.pipeline("image-classification", str(folder), device="cpu")
        theirs = {row["label"]: row["score"] for row in pipeline(image, top_k=3)}
        ours = batch_probabilities(network, network.preparation.tensor(image)[None])[0].tolist()
        assert theirs == pytest.approx(dict(zip(settings["id2label"].values(), ours, strict=True)), abs=1e-4)
        several = "several labels at once" in " ".join(network.messages)
        assert several == ("problem_type" in settings)
        run = load_run(save_network(network, tmp_path / f"run {folder.name}"))
        again = batch_probabilities(run, run.preparation.tensor(image)[None])[0].tolist()
        assert again == pytest.approx(ours, abs=1e-6)


def test_a_new_head_chooses_one_class_and_quantities_have_no_probabilities(tmp_path: Path) -> None:
    small(num_labels=3, problem_type="multi_label_classification").save_pretrained(tmp_path / "m")
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    network = load(tmp_path / "m", classes=4)
    assert float(network.probabilities(logits).sum()) == pytest.approx(1)
    assert "problem_type" not in network.architecture["arguments"]
    network = load(tmp_path / "m")
    assert float(network.probabilities(logits).sum()) > 1
    network.choose_one_class()
    assert float(network.probabilities(logits).sum()) == pytest.approx(1)
    small(num_labels=3, problem_type="regression").save_pretrained(tmp_path / "r")
    with pytest.raises(NetworkError, match=r"quantities .*, not classes"):
        load(tmp_path / "r").probabilities(logits)


# Grey


def test_a_network_of_grey_pictures_gets_grey(tmp_path: Path) -> None:
    module = small(num_channels=1, num_labels=3)
    module.save_pretrained(tmp_path / "m")
    processor = transformers.ViTImageProcessor(size={"height": 64, "width": 64}, image_mean=[0.2], image_std=[0.4])
    processor.save_pretrained(tmp_path / "m")
    network = load(tmp_path / "m")
    assert network.preparation.colours == "L"
    assert difference(processor, network.preparation, SIZES[:2]) < 2e-3
    grey = picture((90, 70)).convert("L")
    pixels = network.preparation.tensor(grey.convert("RGB"))[None]
    with torch.no_grad():
        expected = module(processor(grey, return_tensors="pt")["pixel_values"]).logits
    assert torch.allclose(network.logits(pixels), expected, atol=2e-3)
    assert load_run(save_network(network, tmp_path / "run")).preparation == network.preparation


def test_a_network_of_four_channels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="takes pictures of 4 channels; regard gives 3"):
        load(timm.create_model("vit_tiny_patch16_224", depth=1, in_chans=4))
    small(num_channels=6).save_pretrained(tmp_path)
    with pytest.raises(NetworkError, match="takes pictures of 6 channels"):
        load(tmp_path)


def test_settings_of_grey_and_of_what_is_around_are_checked() -> None:
    with pytest.raises(UsageError, match="one number each"):
        Preparation(8, 8, colours="L")
    with pytest.raises(UsageError, match="order of colours"):
        Preparation(8, 8, colours="GBR")
    with pytest.raises(UsageError, match="resized is"):
        Preparation(8, 8, resized=(0, 4))
