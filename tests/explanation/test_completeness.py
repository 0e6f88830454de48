"""Maps of complete methods say what they and the rest sum to: in records, folders, tables, and what is gone on with."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import timm
import torch
import twins
from PIL import Image
from samples import NAMES, SAMPLES, awake
from tiny_vits import CLS, TINY, Tiny
from torch import Tensor, nn
from vit_twin import run_on, score

import regard
from regard import Explainer
from regard.errors import DataError, UsageError
from regard.explanation import METHODS, Maps, Method
from regard.explanation.pictures.cells import summed
from regard.networks.load import load
from regard.predictors.explainer import ExplanationJob
from regard.records import Completeness, Explanation, Heatmap, PatchGrid, read_manifest, write_manifest
from regard.rendering.figures.panel import caption_of
from regard.rendering.figures.sheets import common_caption
from regard.results.maps import read_table, write_table

STORED = Path(__file__).parents[1] / "stored"
CHEAP = {"integrated_gradients": {"steps": 3}, "shapley": {"samples": 2}}
ROWS = [row for row in METHODS if row.kind == "picture"]
COMPLETE = [row.name for row in ROWS if row.sums_to]
STEPS = {"integrated_gradients": {"steps": 150}, "shapley": {"samples": 2}}
WITHIN = {"integrated_gradients": 1e-2, "shapley": 1e-9, "libra_fullgrad": 1e-9, "direct_logit": 1e-9}
"""Relative gaps; a restless network's integral is only as near as the rule of captum comes."""
CONTRAST = (3, 1)
every_tiny = pytest.mark.parametrize("tiny", TINY, ids=[tiny.name for tiny in TINY])
of_complete = pytest.mark.parametrize("method", COMPLETE)


def truth(method: str, tiny: Tiny, picture: Tensor, target: Any) -> tuple[float, float, float, float]:
    """Logit, baseline, and what CLS and other tokens and the biases of no token have, from the twins."""
    logit = float(score(run_on(tiny.twin, picture).logits.detach(), target))
    if method == "shapley":
        return logit, twins.worth(tiny.twin, picture, target)(frozenset()), 0, 0
    if method == "integrated_gradients":
        return logit, float(score(run_on(tiny.twin, 0 * picture).logits.detach(), target)), 0, 0
    if method == "direct_logit":
        shares = twins.direct_shares(tiny.twin, picture, target)
        return logit, logit - float(shares.sum()), float(shares[: tiny.twin.prefix].sum()), 0
    parts = twins.fullgrad(tiny.twin, picture, target)
    prefix = (parts.tokens[0] + parts.biases)[: tiny.twin.prefix].sum()
    return logit, 0, float(prefix), float(parts.rest)


def test_which_methods_are_complete() -> None:
    assert COMPLETE == ["libra_fullgrad", "direct_logit", "integrated_gradients", "shapley"]


@every_tiny
@pytest.mark.parametrize("target", [None, CONTRAST], ids=str)
@of_complete
def test_map_and_rest_sum_to_the_logit_less_the_baseline(method: str, target: Any, tiny: Tiny) -> None:
    pictures = tiny.pictures.double()
    found = METHODS.load(method)(tiny.network(torch.float64), pictures, target=target, **STEPS.get(method, {}))
    assert found.completeness is not None and len(found.completeness) == 2
    for values, each, picture, chosen in zip(found.values, found.completeness, pictures, found.targets, strict=True):
        right = truth(method, tiny, picture, chosen)
        assert (each.logit, each.baseline, each.prefix, each.biases) == pytest.approx(right, rel=1e-9, abs=1e-9)
        scale = float(np.abs(values).sum()) + abs(each.rest)
        assert abs(float(values.sum(dtype=np.float64)) + each.rest - each.sum) <= 1e-6 * scale  # values are float32
        assert abs(each.gap) <= WITHIN[method] * max(scale, abs(each.logit - each.baseline))
        if method != "integrated_gradients":
            assert abs(values.sum(dtype=np.float64) + each.rest - (each.logit - each.baseline)) <= 1e-6 * scale


def test_the_map_of_libra_alone_is_not_the_logit() -> None:
    """What an earlier version let believe: most lies on CLS."""
    found = METHODS.load("libra_fullgrad")(CLS.network(), CLS.pictures)
    for values, each in zip(found.values, found.completeness, strict=True):
        assert abs(values.sum() - each.logit) > 0.05 * abs(each.logit)
        assert each.prefix != 0


def test_the_gap_of_too_few_steps_is_what_it_is() -> None:
    found = METHODS.load("integrated_gradients")(CLS.network(torch.float64), CLS.pictures.double(), steps=2)
    for values, each in zip(found.values, found.completeness, strict=True):
        gap = float(values.sum(dtype=np.float64)) - (each.logit - each.baseline)
        assert each.gap == pytest.approx(gap, rel=1e-5)
        assert each.relative_gap == pytest.approx(abs(gap / (each.logit - each.baseline)), rel=1e-5)
        assert each.relative_gap > 0.05


@pytest.mark.parametrize("name", ["timm cait", "timm sam"])
def test_tokens_that_join_later_and_windows_have_their_place(name: str) -> None:
    sample = dict(zip(NAMES, SAMPLES, strict=True))[name]
    found = METHODS.load("libra_fullgrad")(load(awake(sample)[0]), sample.pictures)
    for values, each in zip(found.values, found.completeness, strict=True):
        assert abs(values.sum() + each.rest - each.logit) <= 1e-4 * (np.abs(values).sum() + abs(each.rest))
        assert (each.prefix != 0) == (name == "timm cait")  # its class token joins behind the blocks of patches
        assert each.biases != 0


def test_every_pixel_counts_once_where_cells_do_not_divide_the_picture() -> None:
    network: Any = SimpleNamespace(anatomy=SimpleNamespace(patch=None))
    values = torch.zeros(1, 3, 37, 56, dtype=torch.float64)
    values[0, :, 18, 5] = 1
    values[0, 0, 36, 55] = 2
    found = summed(network, values)[0]
    assert found.shape == (2, 4)
    assert found[0, 0] == found[1, 0] == pytest.approx(1.5)  # row 18 is cut in the middle
    assert float(found.sum()) == pytest.approx(5) and float(found[1, 3]) == pytest.approx(2)


# records


@pytest.fixture(scope="module")
def explanations() -> dict[str, Explanation]:
    torch.manual_seed(0)
    module = timm.create_model("test_vit", num_classes=3, img_size=32)
    nn.init.normal_(module.head.weight)
    pictures = [np.random.default_rng(seed).integers(0, 256, (40, 48, 3), np.uint8) for seed in range(3)]
    explainer = Explainer(module)
    return {name: explainer(pictures, name, **CHEAP.get(name, {})) for name in ("attention", *COMPLETE)}


@of_complete
def test_sums_are_saved_and_loaded(method: str, explanations: dict[str, Explanation], tmp_path: Path) -> None:
    explanation = explanations[method]
    assert all(isinstance(heatmap.completeness, Completeness) for heatmap in explanation)
    loaded = Explanation.load(explanation.save(tmp_path / "maps"))
    write_table(tmp_path / "maps.parquet", explanation, explanation)
    for again in (loaded, read_table(tmp_path / "maps.parquet")):
        assert [heatmap.completeness for heatmap in again] == [heatmap.completeness for heatmap in explanation]
    for picture in json.loads((tmp_path / "maps" / "manifest.json").read_text())["pictures"]:
        stored = picture["completeness"]
        assert stored["rest"] == pytest.approx(stored["prefix"] + stored["biases"])
        assert stored["gap"] == pytest.approx(stored["sum"] - (stored["logit"] - stored["baseline"]))
    table = pd.read_parquet(tmp_path / "maps.parquet")
    sums = table["map"].map(lambda values: values.sum(dtype=np.float64)) + table["rest"]
    assert np.allclose(sums, table["sum"], rtol=0, atol=1e-5)
    assert np.allclose(table["sum"] - table["gap"], table["logit"] - table["baseline"], atol=1e-12)
    assert np.allclose(table["rest_prefix"] + table["rest_biases"], table["rest"], atol=1e-12)
    assert table["prefix"].tolist() == [loaded[0].grid.prefix] * 3  # the number of tokens, as ever


def test_a_map_of_no_claim_has_no_sums(explanations: dict[str, Explanation], tmp_path: Path) -> None:
    explanation = explanations["attention"]
    assert [heatmap.completeness for heatmap in explanation] == [None] * 3
    loaded = Explanation.load(explanation.save(tmp_path / "maps"))
    assert "completeness" not in (tmp_path / "maps" / "manifest.json").read_text()
    write_table(tmp_path / "maps.parquet", explanation, explanation)
    assert [each.completeness for each in (*loaded, *read_table(tmp_path / "maps.parquet"))] == [None] * 6
    assert pd.read_parquet(tmp_path / "maps.parquet")[["logit", "rest", "sum"]].isna().all(axis=None)
    assert "sum" not in str(explanation)


def test_a_number_that_is_none_comes_back(tmp_path: Path) -> None:
    nothing = Completeness(float("nan"), 0.0, float("inf"))
    heatmap = Heatmap(np.ones((2, 3), np.float32), PatchGrid.whole(2, 3), "a", 1, completeness=nothing)
    explanation = Explanation((heatmap,), "libra_fullgrad", True)
    (found,) = Explanation.load(explanation.save(tmp_path / "maps"))
    assert found.completeness is not None and np.isnan([found.completeness.logit, found.completeness.sum]).all()
    write_table(tmp_path / "maps.parquet", explanation, explanation)
    (found,) = read_table(tmp_path / "maps.parquet")
    assert found.completeness is not None and np.isnan(found.completeness.logit)


def test_sums_are_said_with_each_map(explanations: dict[str, Explanation]) -> None:
    """In the line of an explanation and under a panel; not under a sheet of several maps."""
    explanation = explanations["integrated_gradients"]
    gaps = [heatmap.completeness.relative_gap for heatmap in explanation if heatmap.completeness]
    words = f"{100 * np.median(gaps):.1f} % (median; at most {100 * max(gaps):.1f} %)"
    assert str(explanation).endswith(f"sums off by {words}")
    assert caption_of(explanation, 1).endswith(f"· {explanation[1].completeness}")
    assert "rest" not in common_caption(explanation)


def test_a_stream_says_once_that_sums_are_off(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    module = timm.create_model("vit_tiny_patch16_224", depth=2, img_size=64, num_classes=3)
    pictures = (np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8) for seed in range(4))
    with caplog.at_level(logging.INFO, "regard"):
        records = list(Explainer(module).stream(pictures, "integrated_gradients", steps=1))
    assert len(records) == 4
    assert caplog.text.count("with 1 steps the maps' sums are off by") == 1


@pytest.mark.parametrize("method", ["integrated_gradients", "transition"])
def test_a_sheet_says_once_that_sums_are_off(method: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    arguments: dict[str, Any] = {"model": "random:test_vit", "size": 32, "workers": 0, "steps": 2}
    arguments["sheet"] = "attention,integrated_gradients"
    with caplog.at_level(logging.INFO, "regard"):
        regard.explain(tmp_path / "a.png", tmp_path / "out", method=method, **arguments)
    assert caplog.text.count("the maps' sums are off by") == 1


@pytest.mark.parametrize("claims", [True, False])
def test_a_row_and_its_function_agree(claims: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method from outside that claims completeness must show it, and the other way round."""

    def method(network: Any, pixels: Tensor) -> Maps:
        given = None if claims else (Completeness(1.0, 0.0, 1.0),) * len(pixels)
        return Maps(np.ones((len(pixels), 2, 2), np.float32), (0,) * len(pixels), completeness=given)

    sums_to = "y(picture)" if claims else ""
    row = Method("half", "picture", "x:y", "", (), (), True, True, 1, "", sums_to=sums_to)
    monkeypatch.setitem(METHODS._rows, "half", row)
    monkeypatch.setattr(METHODS, "load", lambda name: method)
    module = timm.create_model("test_vit", num_classes=3, img_size=32)
    with pytest.raises(UsageError, match=r"half gave (no|a) completeness, and its row says sums_to="):
        Explainer(module)(np.zeros((32, 32, 3), np.uint8), "half")


# versions


def test_explanations_have_version_2_and_networks_version_1(
    tmp_path: Path, explanations: dict[str, Explanation]
) -> None:
    folder = explanations["attention"].save(tmp_path / "maps")
    assert json.loads((folder / "manifest.json").read_text())["schema"] == 2
    write_table(tmp_path / "maps.parquet", explanations["attention"], explanations["attention"])
    metadata = pq.read_schema(tmp_path / "maps.parquet").metadata
    assert json.loads(metadata[b"regard"])["schema"] == 2
    write_manifest(tmp_path, "evaluation", pictures=[])
    assert read_manifest(tmp_path, "evaluation")["schema"] == 1
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"schema": 2', '"schema": 3'))
    with pytest.raises(DataError, match="schema version 3, newer than the 2"):
        Explanation.load(folder)


def test_explanations_of_version_1_are_opened_without_sums() -> None:
    stored = Explanation.load(STORED / "explanation")
    assert json.loads((STORED / "explanation" / "manifest.json").read_text())["schema"] == 1
    assert stored.method == "shapley"
    assert [each.completeness for each in (*stored, *read_table(STORED / "explanation.parquet"))] == [None] * 4


@pytest.mark.parametrize("out", ["maps", "maps.parquet"])
def test_what_was_stopped_comes_to_the_same_sums(out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, part = _stopped(tmp_path, out, monkeypatch)
    regard.explain(**arguments)
    assert not part.exists()
    regard.explain(**{**arguments, "out": tmp_path / f"whole-{out}"})
    files = (Path("manifest.json"),) if out == "maps" else (Path(),)
    for file in files:
        assert (tmp_path / out / file).read_bytes() == (tmp_path / f"whole-{out}" / file).read_bytes()


def test_what_an_earlier_version_left_is_gone_on_with_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    arguments, part = _stopped(tmp_path, "maps.parquet", monkeypatch)
    lines = [json.loads(line) for line in (part / "pictures.jsonl").read_text().splitlines()]
    before = "".join(f"{json.dumps({k: v for k, v in line.items() if k != 'completeness'})}\n" for line in lines)
    (part / "pictures.jsonl").write_text(before)
    progress = json.loads((part / "progress.json").read_text())
    progress["whole"]["sizes"]["pictures.jsonl"] = len(before)
    (part / "progress.json").write_text(json.dumps(progress))
    with caplog.at_level(logging.INFO, "regard"):
        regard.explain(**arguments)
    assert "an earlier version of regard made the first 2 of 4 maps" in caplog.text
    found = read_table(tmp_path / "maps.parquet")
    assert [heatmap.completeness is None for heatmap in found] == [True, True, False, False]


def _stopped(folder: Path, out: str, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], Path]:
    """A run that was stopped after two of four pictures: its arguments, and what it left."""
    (folder / "in").mkdir()
    for seed in range(4):
        pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "in" / f"{seed}.png")
    arguments: dict[str, Any] = {"pictures": folder / "in", "out": folder / out, "method": "shapley", "samples": 2}
    arguments |= {"model": "random:test_vit", "size": 32, "workers": 0, "batch_size": 2}
    whole = ExplanationJob.heatmaps

    def stopped(job: ExplanationJob, *more: Any) -> Any:
        for index, heatmap in whole(job, *more):
            if index == 2:
                raise KeyboardInterrupt
            yield index, heatmap

    with monkeypatch.context() as patch:
        patch.setattr(ExplanationJob, "heatmaps", stopped)
        with pytest.raises(KeyboardInterrupt):
            regard.explain(**arguments)
    return arguments, folder / f"{out}.part"
