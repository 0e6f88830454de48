"""`explain --curve`: the removal curves of maps, in records, folders, tables and figures."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from tiny_vits import CLS, Tiny, awake

import regard
from regard.data.layouts import read_pictures
from regard.errors import NetworkError
from regard.measurement.faithfulness.curves import removal_curves
from regard.networks.predict import prepared
from regard.records import Explanation, RemovalCurve
from regard.rendering.figures.panel import caption_of
from regard.results.maps import read_table


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 255, (16, 24, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def test_srg_by_hand() -> None:
    """Areas by trapezoids over three points: least first .65, most first .35."""
    curve = RemovalCurve(1, "tokens", (0.8, 0.2, 0.2), (0.8, 0.8, 0.2))
    assert curve.srg == pytest.approx(0.65 - 0.35)
    assert RemovalCurve.from_json(curve.as_json()) == curve
    assert curve.as_json()["srg"] == curve.srg


def test_curves_are_those_of_the_measure_and_come_back(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"method": "input_x_gradient", "model": awake(CLS), "workers": 0, "curve": True}
    with caplog.at_level("INFO", "regard"):
        folder = regard.explain(pictures, tmp_path / "maps", **settings, batch_size=1).explanation
    assert any(message.startswith("input_x_gradient: SRG ") for message in caplog.messages)
    table = regard.explain(pictures, tmp_path / "maps.parquet", **settings).explanation
    memory = regard.explain(pictures, **settings).explanation
    for one, other, third in zip(folder, table, memory, strict=True):
        for each in (other, third):  # batches of one and of three
            assert each.curve is not None
            assert one.curve is not None
            assert (each.curve.target, each.curve.occluder) == (one.target, "tokens")
            assert np.allclose([each.curve.mif, each.curve.lif], [one.curve.mif, one.curve.lif], atol=1e-6)
    assert Explanation.load(tmp_path / "maps")[0].curve == folder[0].curve
    assert read_table(tmp_path / "maps.parquet")[2].curve == table[2].curve
    network = CLS.network()
    ((_, pixels),) = prepared(network, read_pictures(pictures).pictures, batch_size=3, workers=0)
    right = removal_curves(network, pixels, memory.maps[None], [each.target for each in memory])
    assert np.allclose([each.curve.mif for each in memory], right.mif[0], atol=1e-6)
    assert np.allclose([each.curve.srg for each in memory], right.srg[0], atol=1e-6)
    assert len(memory[0].curve.mif) == 11
    assert f"SRG {memory[0].curve.srg:.2f}" in caption_of(memory, 0)


def test_the_class_that_is_followed(pictures: Path) -> None:
    """The map's own class, the first of two, or the predicted one where a map is of none."""
    explainer = regard.Explainer(awake(CLS))
    path = pictures / "0.png"
    best = int(explainer(path, "gradcam")[0].target)  # type: ignore[arg-type]
    other = (best + 1) % 5
    targets = [
        explainer(path, method, curve=True, **settings)[0].curve.target  # type: ignore[union-attr]
        for method, settings in [
            ("gradcam", {"target": other}),
            ("gradcam", {"target": other, "against": best}),
            ("attention", {}),
            ("edges", {}),
        ]
    ]
    assert targets == [other, other, best, best]


def test_a_finer_map_is_summed_to_patches_first(pictures: Path) -> None:
    explainer = regard.Explainer(awake(Tiny("cls")))
    found = explainer(pictures / "0.png", "dave", samples=1, curve=True)[0]
    coarse = found.on_patches()
    network = CLS.network()
    ((_, pixels),) = prepared(network, read_pictures(pictures / "0.png").pictures, workers=0)
    right = removal_curves(network, pixels, coarse[None, None], [found.target])  # type: ignore[list-item]
    assert np.allclose(found.curve.mif, right.mif[0, 0], atol=1e-6)  # type: ignore[union-attr]


def test_a_network_that_cannot_leave_out_tokens_is_painted_and_one_without_classes_refused(pictures: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        convnet = timm.create_model("resnet18", num_classes=5).eval()
    found = regard.Explainer(convnet)(pictures / "0.png", "occlusion", curve=True)[0]
    assert found.curve.occluder == "mean"  # type: ignore[union-attr]
    encoder = regard.Explainer("random:vit_tiny_patch16_224", weights=None)
    encoder.network.architecture["arguments"]["num_classes"] = 0
    with pytest.raises(NetworkError, match="no class whose probability --curve could follow"):
        encoder(pictures / "0.png", "attention", curve=True)
