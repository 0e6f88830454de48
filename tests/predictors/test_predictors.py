"""Predictors in memory: whatever pictures are, the same maps as files give; the module as it was, threads or not."""

import copy
import io
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_vits import CLASSES, CLS, awake
from torch import nn

import regard
from regard import Classifier, Explainer
from regard.data.dataset import Picture
from regard.data.images.preparation import Preparation
from regard.data.layouts import read_pictures
from regard.errors import DataError, NetworkError, UsageError
from regard.explanation import METHODS
from regard.explanation.positions.analysis import positions as similarity_of
from regard.measurement.classification.evaluation import evaluate
from regard.networks.load import load
from regard.predictors.method_options import MethodOptions
from regard.records import Caption, Captions, Explanation, Heatmap, PatchGrid, Predictions, Word
from regard.records.classification import Classification
from regard.records.display import DISPLAYS
from regard.rendering import colour

NAMES = ("ant", "bee", "cat", "dog", "eel")
PREPARATION = Preparation(16, 24)
PICTURE_METHODS = [row.name for row in METHODS if row.kind == "picture"]


def pixels(seed: int = 0, size: tuple[int, int] = (40, 90)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


@pytest.fixture
def module() -> nn.Module:
    """A module of the user's own, in training mode with one part frozen in evaluation: it must come back like that."""
    mine = copy.deepcopy(awake(CLS)).train()
    mine.blocks[0].eval()
    mine.blocks[1].requires_grad_(False)
    return mine


@pytest.fixture
def explainer(module: nn.Module) -> Explainer:
    return Explainer(module, classes=NAMES, preparation=PREPARATION)


def state(module: nn.Module) -> list[object]:
    parts = list(module.modules())
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in parts]
    weights = [(weight.requires_grad, weight.grad, weight._version) for weight in module.parameters()]
    return [hooks, weights, [part.training for part in parts], [getattr(part, "fused_attn", None) for part in parts]]


# pictures of any kind

KINDS: dict[str, Callable[[np.ndarray, Path], Any]] = {
    "path": lambda array, folder: _saved(array, folder),
    "text of a path": lambda array, folder: str(_saved(array, folder)),
    "bytes": lambda array, folder: _saved(array, folder).read_bytes(),
    "image": lambda array, folder: Image.fromarray(array),
    "image with alpha": lambda array, folder: Image.fromarray(array).convert("RGBA"),
    "array": lambda array, folder: array,
    "floats": lambda array, folder: array / 255,
    "tensor": lambda array, folder: torch.from_numpy(array).permute(2, 0, 1),
    "tensor of floats": lambda array, folder: torch.from_numpy(array / np.float32(255)).permute(2, 0, 1),
    "tensor with a gradient": lambda array, folder: torch.tensor(array / 255.0).permute(2, 0, 1).requires_grad_(),
    "picture of a data set": lambda array, folder: read_pictures(_saved(array, folder)).pictures[0],
}


def _saved(array: np.ndarray, folder: Path) -> Path:
    Image.fromarray(array).save(folder / "a.png")
    return folder / "a.png"


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_of_any_kind_gives_the_map_of_its_file(kind: str, explainer: Explainer, tmp_path: Path) -> None:
    array = pixels()
    record = explainer(KINDS[kind](array, tmp_path), method="gradcam")
    by_hand = METHODS.load("gradcam")(explainer.network, PREPARATION.tensor(Image.fromarray(array))[None])
    assert np.array_equal(record.maps, by_hand.values)
    assert record[0].grid.picture == (40, 90)
    assert record[0].target == record[0].predicted == by_hand.targets[0]
    assert np.array_equal(array, pixels())


def test_a_grey_array_is_that_picture(explainer: Explainer) -> None:
    grey = pixels()[..., 0]
    assert np.array_equal(explainer(grey).maps, explainer(np.stack([grey] * 3, axis=2)).maps)


def test_a_list_is_one_record_and_a_batch_of_tensors_too(explainer: Explainer) -> None:
    many = [pixels(seed) for seed in range(3)]
    record = explainer(many, method="rollout", batch_size=2)
    assert [heatmap.name for heatmap in record] == ["picture 0", "picture 1", "picture 2"]
    batch = torch.stack([torch.from_numpy(each).permute(2, 0, 1) for each in many])
    assert np.array_equal(explainer(batch, method="rollout", batch_size=2).maps, record.maps)
    for one, other in zip(explainer.stream(many, method="rollout", batch_size=2), record, strict=True):
        assert np.array_equal(one.maps, other.values[None])


def test_pictures_of_different_sizes_go_together(explainer: Explainer) -> None:
    record = explainer([pixels(0, (40, 90)), pixels(1, (90, 40)), pixels(2, (9, 9))], method="edges")
    assert record.maps.shape == (3, 2, 3)
    assert [record.upsampled(index).shape for index in range(3)] == [(40, 90), (90, 40), (9, 9)]
    assert record.overlay(1).size == (40, 90)


@pytest.mark.parametrize("method", PICTURE_METHODS)
def test_prepared_tensors_are_taken_as_they_are(method: str, module: nn.Module, explainer: Explainer) -> None:
    x = CLS.pictures
    kept, before = x.clone(), state(module)
    record = explainer(x, method=method, prepared=True)
    expected = METHODS.load(method)(explainer.network, x)
    assert np.array_equal(record.maps, getattr(expected, "values", expected))
    assert torch.equal(x, kept) and not x.requires_grad
    assert state(module) == before
    assert record[0].grid.box == (0, 0, 24, 16)
    assert record.upsampled().shape == (16, 24) and np.isfinite(record.upsampled()).all()


def test_prepared_tensors_of_several_sizes() -> None:
    """A network that takes any size: each map has its own shape."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    record = Explainer(module)([torch.randn(3, 16, 24), torch.randn(3, 24, 8)], method="gradcam", prepared=True)
    assert [heatmap.values.shape for heatmap in record] == [(4, 6), (6, 2)]
    with pytest.raises(DataError, match="2 shapes"):
        _ = record.maps


def test_a_class_may_be_named_and_held_against_another(explainer: Explainer) -> None:
    record = explainer(pixels(), "gradcam", target="Cat", against=4)
    assert record[0].target == (2, 4)
    assert record.settings["target"] == ["cat", "eel"]
    assert record.classes == NAMES
    patch = explainer(pixels(), "attention", layer=1, head=0, query=(1, 2))
    assert patch.settings == {"layer": 1, "head": 0, "query": [1, 2]}
    assert np.array_equal(patch.maps, explainer(pixels(), "attention", layer=1, head=0, query="1,2").maps)


def test_an_own_module_needs_two_lines() -> None:
    """No library knows it: its patches' grid is all that it takes."""

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = copy.deepcopy(awake(CLS))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * self.inside(x)

    own = Explainer(Own(), classes=NAMES, preparation=PREPARATION, grid=(2, 3))
    expected = Explainer(awake(CLS), preparation=PREPARATION)(pixels()).maps
    assert np.allclose(own(pixels()).maps, expected, rtol=1e-5)


# the same as the commands


def test_a_folder_of_files_gives_what_the_commands_write(tmp_path: Path, module: nn.Module) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in range(5):
        Image.fromarray(pixels(seed)).save(folder / f"{seed}.jpg")
    files = sorted(folder.iterdir())
    regard.explain(folder, tmp_path / "maps", "gradcam", model=module, batch_size=2, workers=0)
    Explainer(module)(files, "gradcam", batch_size=2).save(tmp_path / "saved")
    for name in ("maps.npy", "manifest.json"):
        assert (tmp_path / "maps" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes(), name
    regard.predict(folder, tmp_path / "out.csv", model=module, probs=True, batch_size=2, workers=0)
    record = Classifier(module)(files, batch_size=2)
    rows = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()[1:]]
    assert [row[:2] for row in rows] == [list(each) for each in zip(record.names, record.labels, strict=True)]
    assert np.array_equal(np.array([row[2:] for row in rows], np.float32), record.probabilities)


# the module comes back, from any thread


def test_provenance_follows_the_weights_and_is_not_made_again(
    explainer: Explainer, module: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = explainer(pixels()).provenance
    assert first["weights_sha256"] == explainer.network.weights_hash()
    with monkeypatch.context() as patch:
        patch.setattr("regard.predictors.predictor.provenance", lambda network: pytest.fail("hashed again"))
        assert explainer(pixels()).provenance == first
    with torch.no_grad():
        module.head.bias.add_(1)
    assert explainer(pixels()).provenance["weights_sha256"] == explainer.network.weights_hash()
    assert explainer(pixels()).provenance != first
    module.head = nn.Linear(24, CLASSES)
    assert explainer(pixels()).provenance["weights_sha256"] == explainer.network.weights_hash()


def test_threads_give_what_one_after_the_other_gives(module: nn.Module) -> None:
    """Two explainers and a classifier around one module, each asked many things at once: the same bits."""
    first, second = Explainer(module), Explainer(module, classes=NAMES, preparation=PREPARATION)
    classifier = Classifier(module)
    before = state(module)
    methods = ("gradcam", "attention", "grad_attention", "legrad", "integrated_gradients", "libra_fullgrad", "shapley")
    calls: list[Callable[[], Any]] = []
    for seed in range(4):
        for method in methods:
            calls += [partial(each, pixels(seed), method=method) for each in (first, second)]
        calls.append(partial(classifier, pixels(seed)))
    expected = [_values(call()) for call in calls]
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda call: _values(call()), calls))
    assert all(np.array_equal(one, other) for one, other in zip(values, expected, strict=True))
    assert state(module) == before


def _values(record: Explanation | Classification) -> np.ndarray:
    return record.maps if isinstance(record, Explanation) else record.probabilities


def test_a_stream_holds_one_picture_at_a_time(explainer: Explainer) -> None:
    gone: list[int] = []
    most = 0

    def camera() -> Iterator[np.ndarray]:
        for number in range(2_000):
            frame = np.zeros((8, 8, 3), np.uint8)
            weakref.finalize(frame, gone.append, number)
            yield frame

    for count, record in enumerate(explainer.stream(camera(), method="centre"), 1):
        assert record.maps.shape == (1, 2, 3)
        most = max(most, count - len(gone))
    assert count == 2_000
    assert most <= 3


def test_a_stream_takes_no_more_than_it_gives(explainer: Explainer) -> None:
    taken: list[int] = []
    frames = (taken.append(seed) or pixels(seed) for seed in range(100))
    stream = explainer.stream(frames, method="rollout")
    assert taken == []
    next(stream)
    assert taken == [0]
    stream = explainer.stream(frames, method="rollout", batch_size=4)
    next(stream)
    assert taken == [0, 1, 2, 3, 4]


def test_many_files_are_read_as_they_are_needed(tmp_path: Path, explainer: Explainer) -> None:
    path = _saved(pixels(0, (8, 8)), tmp_path)
    record = explainer([path] * 300, method="centre", workers=2)
    assert len(record) == 300
    assert record.overlay(299).size == (8, 8)
    path.unlink()
    with pytest.raises(DataError, match="there is no picture"):
        record.overlay(299)


# what cannot be


def _nan() -> torch.Tensor:
    batch = torch.rand(3, 3, 16, 24)
    batch[1, 0, 3, 3] = torch.nan
    return batch


BAD: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "nothing": (list, {}, "no pictures came; give at least one"),
    "a batch of none": (lambda: torch.zeros(0, 3, 16, 24), {}, "no pictures came"),
    "a generator": (lambda: (each for each in [pixels()]), {}, "call `.stream` with it"),
    "an iterator": (lambda: iter([pixels()]), {}, "came as list_iterator.*`.stream`"),
    "a set": (lambda: {"a.png"}, {}, "came as set; give one picture, or a list"),
    "a number": (lambda: 3, {}, "came as int; give one picture"),
    "a number in a list": (lambda: [pixels(), 3], {}, "picture 1 came as int; give a path"),
    "four channels": (lambda: np.zeros((8, 8, 4), np.uint8), {}, r"shape \(8, 8, 4\); a picture is"),
    "a tensor of four channels": (lambda: torch.zeros(4, 8, 8), {}, r"shape \(4, 8, 8\); a tensor is \(3, "),
    "channels last": (lambda: torch.zeros(8, 9, 3), {}, r"permute\(2, 0, 1\)"),
    "no pixels": (lambda: np.zeros((0, 8, 3), np.uint8), {}, "shape"),
    "five axes": (lambda: torch.zeros(1, 1, 3, 8, 8), {}, "shape"),
    "integers": (lambda: np.zeros((8, 8, 3), np.int64), {}, "is of int64; a picture has uint8"),
    "floats up to 255": (lambda: pixels().astype(np.float32), {}, "divide values of 0..255 by 255"),
    "a tensor up to 255": (lambda: torch.rand(3, 8, 8) * 255, {}, "divide values of 0..255 by 255"),
    "normalised": (lambda: torch.randn(3, 16, 24), {}, "as a normalised tensor has; say so with prepared=True"),
    "one with NaN": (_nan, {}, "picture 1 has values from nan"),
    "one prepared with NaN": (_nan, {"prepared": True}, "picture 1 has values that are NaN"),
    "prepared of another size": (lambda: torch.randn(3, 8, 8), {"prepared": True}, "16 × 24 pixels"),
    "prepared of two axes": (lambda: torch.randn(8, 8), {"prepared": True}, r"shape \(8, 8\); a prepared tensor"),
    "a prepared array": (pixels, {"prepared": True}, "came as ndarray; prepared=True is for float tensors"),
    "prepared integers": (lambda: torch.zeros(3, 16, 24, dtype=torch.uint8), {"prepared": True}, "came as torch.uint8"),
    "no file": (lambda: "none.png", {}, "there is no picture none.png"),
    "an unknown class": (pixels, {"method": "gradcam", "target": "cta"}, "unknown class 'cta'; did you mean 'cat'"),
    "a class too many": (pixels, {"method": "gradcam", "target": 5}, "classes of .* go from 0 to 4"),
    "an unknown method": (pixels, {"method": "gradcan"}, "unknown method 'gradcan'; did you mean 'gradcam'"),
    "a method of words": (pixels, {"method": "tam"}, "makes maps of words"),
    "a setting too many": (pixels, {"method": "gradcam", "head": 1}, "gradcam takes no --head"),
    "a layer too many": (pixels, {"layer": 3}, "0 to 2"),
    "against nothing": (pixels, {"method": "gradcam", "against": 1}, "needs a --target"),
    "an unknown setting": (
        pixels,
        {"method": "gradcam", "targte": 1},
        "setting 'targte'; did you mean 'target'",
    ),
    "a query of one number": (pixels, {"query": (1,)}, "CLS or ROW,COLUMN"),
    "a query of words": (pixels, {"query": "left"}, "CLS or ROW,COLUMN"),
    "batches of none": (pixels, {"batch_size": 0}, "batch size 0"),
    "prepared batches of none": (lambda: torch.rand(3, 16, 24), {"batch_size": 0, "prepared": True}, "batch size 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_named_and_the_module_is_as_it_was(
    name: str, explainer: Explainer, module: nn.Module
) -> None:
    make, settings, words = BAD[name]
    before = state(module)
    with pytest.raises((UsageError, DataError, NetworkError), match=words):
        explainer(make(), **settings)
    assert state(module) == before


@pytest.mark.parametrize(
    ("pictures", "words"),
    [("a.png", "this is one"), (pixels(), "this is one"), (3, "came as int"), (torch.rand(3, 8, 8), "this is one")],
)
def test_a_stream_takes_pictures_one_after_the_other(pictures: Any, words: str, explainer: Explainer) -> None:
    for predictor in (explainer, Classifier(explainer.network.module)):
        with pytest.raises(UsageError, match=words):
            list(predictor.stream(pictures))


def test_settings_of_a_stream_are_checked_before_the_first_picture(explainer: Explainer) -> None:
    with pytest.raises(UsageError, match="takes no --head"):
        explainer.stream([], method="gradcam", head=1)
    with pytest.raises(UsageError, match="batch size 0"):
        list(explainer.stream([pixels()], batch_size=0))


# classifying


def test_a_classifier_gives_names_labels_and_probabilities(module: nn.Module) -> None:
    classifier = Classifier(module, classes=NAMES, preparation=PREPARATION)
    before = state(module)
    record = classifier([pixels(seed) for seed in range(3)])
    x = torch.stack([PREPARATION.tensor(Image.fromarray(pixels(seed))) for seed in range(3)])
    expected = torch.softmax(copy.deepcopy(module).eval()(x), dim=1)
    assert np.allclose(record.probabilities, expected.detach(), rtol=1e-5)
    assert record.labels == tuple(NAMES[int(index)] for index in expected.argmax(1))
    assert list(record.top(0, 2)) == [NAMES[int(index)] for index in expected[0].topk(2).indices]
    assert state(module) == before
    streamed = list(classifier.stream(pixels(seed) for seed in range(3)))
    assert [each.labels[0] for each in streamed] == list(record.labels)
    assert Classifier(module)(pixels()).classes == ("0", "1", "2", "3", "4")


# records that draw


def _shown(record: Any) -> Image.Image:
    return Image.open(io.BytesIO(record._repr_png_()))


def test_one_picture_is_a_panel_and_many_are_a_sheet(explainer: Explainer) -> None:
    one = explainer(pixels())
    assert _shown(one).width > 3 * 420
    many = explainer([pixels(seed) for seed in range(4)])
    assert 2 * 240 < _shown(many).width < 3 * 420
    assert _shown(explainer(CLS.pictures, prepared=True)).width > 240
    assert _shown(explainer.stream([pixels()]).__next__()).width > 3 * 420
    record = Classifier(explainer.network.module)([pixels(seed) for seed in range(13)])
    assert _shown(record).width > 3 * 240


def test_captions_positions_and_evaluations_show_themselves() -> None:
    grid = PatchGrid.whole(2, 3, picture=(40, 60))
    words = tuple(Word(text, 0.5, Heatmap(np.eye(2, 3, dtype=np.float32), grid, "a")) for text in ("a", "cat"))
    image = Image.fromarray(pixels(0, (40, 60)))
    drawn = Caption("a", "a cat", words, image=lambda longest: image)
    loaded = Caption("a", "a cat", words, grid=grid)
    assert _shown(drawn).size == _shown(loaded).size
    assert drawn._repr_png_() != loaded._repr_png_()
    assert _shown(Captions((drawn, loaded, *[drawn] * 12))).width > 2 * 240
    assert _shown(Captions(())).width >= 240
    table = np.random.default_rng(0).normal(size=(2, 3, 8))
    assert _shown(similarity_of(table)).width > 300
    evaluation = evaluate(Predictions(("a", "b"), ("x", "y"), np.array([0, 1]), np.array([0, 0])))
    assert _shown(evaluation).width > 300


def test_every_display_is_there() -> None:
    for target in DISPLAYS.values():
        module, function = target.split(":")
        assert callable(getattr(import_module(module), function))


def test_an_overlay_is_the_map_on_its_picture(explainer: Explainer) -> None:
    record = explainer(pixels(), method="gradcam")
    values = record.upsampled()
    assert np.isnan(values).any()  # it was cropped
    expected = colour.overlay(Image.fromarray(pixels()), values, scale=colour.limits(record[0].values))
    assert record.overlay().tobytes() == expected.tobytes()
    jet = colour.overlay(Image.fromarray(pixels()), values, "jet", 0.4, scale=colour.limits(record[0].values))
    assert record.overlay(colours="jet", alpha=0.4).tobytes() == jet.tobytes()
    prepared = explainer(CLS.pictures, prepared=True)
    shown = np.asarray(prepared[1].image(100))  # type: ignore[misc]
    assert np.allclose(shown / 255, (CLS.pictures[1] * 0.5 + 0.5).clamp(0, 1).permute(1, 2, 0), atol=0.003)


def test_a_record_without_its_pictures_says_so_and_shows_its_maps(explainer: Explainer, tmp_path: Path) -> None:
    explainer([pixels(), pixels(1)]).save(tmp_path / "maps")
    loaded = Explanation.load(tmp_path / "maps")
    with pytest.raises(DataError, match="'picture 0' is not known to this explanation"):
        loaded.overlay()
    assert _shown(loaded).width > 300
    bare = Classification(("a", "b"), ("x", "y"), np.array([[0.5, 0.5], [0.1, 0.9]], np.float32))
    assert _shown(bare).width > 240


def test_a_picture_may_be_given_as_the_data_set_has_it(explainer: Explainer) -> None:
    from regard.data.openers import ArrayOpener

    record = explainer([Picture("deep/a.png", ArrayOpener(pixels())), ArrayOpener(pixels())], method="rollout")
    assert [heatmap.name for heatmap in record] == ["deep/a.png", "picture 1"]
    assert np.array_equal(record.maps[0], record.maps[1])


@pytest.mark.parametrize("method", ["gradcam", "occlusion", "input_x_gradient", "attention"])
def test_of_an_encoder_a_feature_is_explained_and_said(method: str, caplog: pytest.LogCaptureFixture) -> None:
    encoder = load("random:test_vit", arguments={"num_classes": 0})
    with caplog.at_level("WARNING", logger="regard"):
        Explainer(encoder).job(method, MethodOptions())
    assert ("explains no class, but a feature" in caplog.text) == (method != "attention")
