"""What an Inspector gives is what the single parts give; any network gives what it has, and says why not the rest."""

import numpy as np
import pytest
import timm
import torch
from outliers import pictures as bright_pictures
from outliers import planted
from samples import NAMES, SAMPLES, awake
from tiny_vits import CLS, TINY, Tiny

from regard.errors import DataError, UsageError
from regard.explanation import METHODS
from regard.explanation.artifacts import observe
from regard.explanation.pictures.logit_lens import logit_lens
from regard.measurement.faithfulness.curves import removal_curves
from regard.networks.attention.trace import trace
from regard.predictors.explainer import Explainer
from regard.predictors.inspector import Inspector
from regard.records import Inspection
from regard.records.inspection.parts import PREFIX

BY_NAME = dict(zip(NAMES, SAMPLES, strict=True))


def inspected(module, pixels, **settings):
    """The inspector, and its inspection of the first of these prepared pictures."""
    inspector = Inspector(module)
    return inspector, inspector(pixels[0], prepared=True, **settings)


@pytest.mark.parametrize("tiny", TINY, ids=lambda tiny: tiny.name)
def test_attention_is_that_of_a_trace(tiny: Tiny) -> None:
    network = tiny.network()
    inspector, inspection = inspected(network.module, tiny.pictures, methods=("attention",), curve=False)
    logits, traced = trace(network, tiny.pictures[:1], layers="all", queries="pool")
    cls = inspection.values("cls")
    for place, layer in enumerate(inspection.layers["cls"]):
        off = np.abs(cls[place] - traced.patches(layer)[0, :, 0].numpy())
        assert off.max() <= inspection.arrays["cls"].bound().max() + 1e-6
    about = {"layers": len(traced.attention), "heads": cls.shape[1], "reads": tiny.reads}
    assert inspection.network == {"name": inspector.network.name, **about}
    blocks = len(traced.attention) - network.anatomy.readers
    _, full = trace(network, tiny.pictures[:1], layers=range(blocks), queries="all")
    rows = traced.rows * traced.columns
    last = full.attention[blocks - 1][0].mean(dim=0)[-rows:, -rows:].numpy()
    off = np.abs(inspection.values("patches").reshape(rows, rows) - last)
    assert off.max() <= inspection.arrays["patches"].bound().max() + 1e-6
    best = logits.softmax(dim=1)[0].topk(5)
    assert [share for _, share in inspection.answer.probabilities] == pytest.approx(best.values.tolist(), abs=1e-6)
    assert inspection.answer.predicted == str(int(best.indices[0]))
    prefix = network.anatomy.prefix
    for place, layer in enumerate(inspection.keys.layers):
        mean = full.attention[layer][0].mean(dim=0)[-rows:].numpy()  # (patches, tokens)
        for patch in range(rows):
            order = np.argsort(-mean[patch], kind="stable")[: inspection.keys.indices.shape[2]]
            expected = [PREFIX if token < prefix else token - prefix for token in order]
            assert inspection.keys.indices[place, patch].tolist() == expected
            off = np.abs(inspection.keys.weights()[place, patch] - mean[patch][order])
            assert off.max() <= inspection.keys.highest[place] / 255


def test_the_lens_is_the_method() -> None:
    network = CLS.network()
    _, inspection = inspected(network.module, CLS.pictures, methods=(), curve=False)
    lens = inspection.lens
    for place, layer in enumerate(lens.layers):
        maps = np.stack(
            [logit_lens(network, CLS.pictures[:1], layer=layer, target=index).values[0].ravel() for index in range(5)]
        )
        names = [lens.names[index] for index in lens.classes[place]]
        assert names == list(map(str, maps.argmax(axis=0)))
        assert np.abs(lens.levels[place] / 255 - maps.max(axis=0)).max() <= 0.5 / 255 + 1e-6


def test_maps_are_those_of_an_explainer_and_curves_those_of_the_measure() -> None:
    network = CLS.network()
    methods = ("attention", "gradcam", "libra_fullgrad")
    inspector, inspection = inspected(network.module, CLS.pictures, methods=methods, true="3")
    explainer = Explainer(network.module)
    answer = inspection.answer
    targets = list(dict.fromkeys([answer.predicted, "3", answer.runner_up]))
    entries = {(each.method, each.target, each.against): each for each in inspection.maps}
    wanted = [("attention", None, None)]
    wanted += [(name, target, None) for name in methods[1:] for target in targets]
    wanted += [(name, targets[0], targets[1]) for name in methods[1:]]
    wanted += [(name, None, None) for name in ("random", "centre", "edges")]
    assert set(entries) == set(wanted)
    assert [each.control for each in inspection.maps] == [each.method in ("random", "centre", "edges")
                                                          for each in inspection.maps]  # fmt: skip
    for (method, target, against), entry in entries.items():
        options = {} if target is None else {"target": target} | ({} if against is None else {"against": against})
        explained = explainer(CLS.pictures[0], method, prepared=True, curve=True, **options)[0]
        bound = inspection.arrays[entry.array].bound()[entry.index]
        assert np.abs(inspection.map_of(entry) - explained.values).max() <= bound + 1e-6, (method, target)
        assert entry.signed == METHODS[method].signed and entry.array == ("signed_maps" if entry.signed else "maps")
        assert entry.curve["mif"] == pytest.approx(explained.curve.mif, abs=6e-5), (method, target)
        assert entry.curve["lif"] == pytest.approx(explained.curve.lif, abs=6e-5)
        assert entry.curve["srg"] == pytest.approx(explained.curve.srg, abs=6e-5)
        assert entry.curve["occluder"] == explained.curve.occluder == "tokens"
    random = entries["random", None, None]
    assert set(random.curves) == set(targets) and random.curves[targets[0]] == random.curve
    values = explainer(CLS.pictures[0], "random", prepared=True)[0].values[None, None]
    of_three = removal_curves(inspector.network, CLS.pictures[:1], values, [3])
    assert random.curves["3"]["mif"] == pytest.approx(of_three.mif[0, 0].tolist(), abs=6e-5)


def test_repair_shows_what_the_repaired_network_reads() -> None:
    network = planted()
    x = bright_pictures()
    inspector = Inspector(network.module)
    inspector.network.preparation = network.preparation
    inspection = inspector(x[0], prepared=True, methods=(), curve=False)
    assert inspection.artifacts.tokens == (0,)
    seen = observe(network, [x[:1]])
    assert inspection.artifacts.share == pytest.approx(float(seen.attention[-1][0, 0]), abs=1e-5)
    after = inspection.values("cls_repaired")
    assert after.shape == inspection.values("cls").shape and inspection.layers["cls_repaired"] == (0, 1, 2, 3)
    assert after[-1, :, 0, 0].mean() < 0.5 * inspection.values("cls")[-1, :, 0, 0].mean()
    assert inspector(x[0], prepared=True, methods=(), curve=False, repair=False).absent["cls_repaired"]
    _, healthy = inspected(planted(answers=False).module, x, methods=(), curve=False)
    assert healthy.artifacts is None and "no token of this picture" in healthy.absent["cls_repaired"]


@pytest.mark.parametrize(
    "name",
    [
        "timm cait", "timm sam", "timm differential", "timm perception encoder", "timm siglip", "timm side by side",
        "timm deit distilled", "open_clip coca", "huggingface DINOv3ViTModel",
    ],
)  # fmt: skip
def test_any_network_with_attention_gives_what_it_has(name: str) -> None:
    module, *_ = awake(BY_NAME[name])
    inspection = Inspector(module)(BY_NAME[name].pictures[0], prepared=True, methods=("attention", "gradcam"))
    assert inspection.arrays["cls"].levels.shape[-2:] == (inspection.grid.rows, inspection.grid.columns)
    held = {*inspection.layers["cls"], *inspection.layers.get("cls_mean", ())}
    assert held == set(range(inspection.network["layers"]))
    assert Inspection.unpack(inspection.pack()) == inspection
    for part, there in (("lens", inspection.lens), ("answer", inspection.answer), ("keys", inspection.keys)):
        assert (there is None) == (part in inspection.absent), (part, inspection.absent)
    assert all(inspection.absent.values())


@pytest.mark.parametrize(("name", "rows"), [("resnet18", 4), ("swin_tiny_patch4_window7_224", 14)])
def test_networks_without_attention_give_maps_and_curves(name: str, rows: int) -> None:
    size = 64 if rows == 4 else 224
    module = timm.create_model(name, num_classes=3).eval()
    pixels = torch.randn(1, 3, size, size)
    _, inspection = inspected(module, pixels, methods=("attention", "gradcam"), classes=1, curve=rows == 4)
    assert inspection.arrays.keys() == {"maps"} and (inspection.grid.rows, inspection.grid.columns) == (rows, rows)
    assert {"cls", "patches", "keys", "lens", "attention"} <= set(inspection.absent)
    assert "no attention from token to token" in inspection.absent["cls"]
    assert [each.method for each in inspection.maps] == ["gradcam", "random", "centre", "edges"]
    assert all(each.curve["occluder"] == "mean" for each in inspection.maps if rows == 4)


def test_an_encoder_gives_attention_and_no_answer() -> None:
    module = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32, depth=2).eval()
    _, inspection = inspected(module, torch.randn(1, 3, 32, 32), methods=("attention", "gradcam"))
    assert inspection.answer is None and "no classes" in inspection.absent["answer"]
    assert [each.method for each in inspection.maps] == ["attention", "random", "centre", "edges"]
    assert "has no classes" in inspection.absent["gradcam"] and "has no classes" in inspection.absent["curve"]
    assert not any(each.curve for each in inspection.maps)


def test_a_picture_is_drawn_upright_without_what_came_along(tmp_path) -> None:
    from PIL import Image

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    exif[0x010E] = "secret place"
    image.save(tmp_path / "a.jpg", exif=exif)
    inspector = Inspector(CLS.network().module)
    inspection = inspector(tmp_path / "a.jpg", methods=(), curve=False)
    assert (inspection.picture.width, inspection.picture.height) == (40, 80) == inspection.grid.picture[::-1]
    assert b"secret" not in inspection.pack() and b"secret" not in inspection.picture.content
    assert inspection.name == "a.jpg" and str(tmp_path) not in str(inspection.to_json())
    small = inspector(tmp_path / "a.jpg", methods=(), curve=False, longest=20)
    assert (small.picture.width, small.picture.height) == (10, 20)
    bare = inspector(tmp_path / "a.jpg", methods=(), curve=False, longest=0)
    assert bare.picture is None and bare.absent["picture"]


def test_stages_are_counted_and_may_be_ended() -> None:
    inspector = Inspector(CLS.network().module)
    stages = []
    inspector(CLS.pictures[0], prepared=True, methods=("gradcam",), on_stage=lambda *stage: stages.append(stage))
    names = ["picture", "reading", "repair", "gradcam", "random", "centre", "edges", "curves"]
    assert stages == [(name, number, 8) for number, name in enumerate(names)]

    def stop(stage, number, total):
        if stage == "curves":
            raise KeyboardInterrupt

    hooks = sum(len(part._forward_hooks) for part in inspector.network.module.modules())
    with pytest.raises(KeyboardInterrupt):
        inspector(CLS.pictures[0], prepared=True, methods=("gradcam",), on_stage=stop)
    assert sum(len(part._forward_hooks) for part in inspector.network.module.modules()) == hooks
    assert inspector(CLS.pictures[0], prepared=True, methods=(), curve=False).answer


def test_verdicts_are_found_for_methods_and_not_for_controls() -> None:
    inspector = Inspector(CLS.network().module)
    seen = []

    def find(about, picture):
        seen.append((about.method, about.settings.get("target"), picture.name))
        return {"status": "supported", "text": "why"} if about.method == "gradcam" else None

    inspection = inspector(CLS.pictures[0], prepared=True, methods=("attention", "gradcam"), curve=False, verdicts=find)
    assert seen == [("attention", None, "picture"), ("gradcam", "predicted", "picture")]
    assert {each.method for each in inspection.maps if each.verdict} == {"gradcam"}


def test_what_is_wrong_is_said() -> None:
    inspector = Inspector(CLS.network().module)
    with pytest.raises(UsageError, match="unknown method"):
        inspector(CLS.pictures[0], methods=("gradcat",), prepared=True)
    with pytest.raises(UsageError, match="makes maps of words"):
        inspector(CLS.pictures[0], methods=("tam",), prepared=True)
    with pytest.raises(UsageError, match="there is no class 9"):
        inspector(CLS.pictures[0], prepared=True, target=9)
    with pytest.raises(DataError):
        inspector(b"nothing")
    first = inspector(CLS.pictures[0], prepared=True, methods=("gradcam",), target=4, curve=False).maps[0]
    assert first.target == "4"
