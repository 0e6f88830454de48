"""An audit from end to end, small: what it finds and stores, what it does with what is missing, and that it goes on."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_training import draw_pictures, tiny_network
from torch import nn

from regard.audit.audit import AuditOutput, audit
from regard.audit.pictures.methods import AuditedMethod, method_of
from regard.audit.pictures.outside import MapBatch, within
from regard.audit.settings import AuditSettings
from regard.audit.verdicts import find
from regard.data.dataset import Dataset
from regard.data.layouts import read
from regard.data.regions import Regions, regions_of
from regard.errors import DataError, NetworkError, UsageError
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.run import save_network
from regard.predictors.explainer import Explainer
from regard.records import Audit, Explanation
from regard.records.audits.verdicts import PLANTED
from regard.rendering.figures.panel import caption_of
from regard.results.audits import read_audit
from regard.results.maps import read_table

FEW = AuditSettings(methods=("attention", "gradcam"), workers=0, steps=4, batch_size=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("audit") / "data", each=3)


@pytest.fixture(scope="module")
def data(folder: Path) -> Dataset:
    return read(folder)


@pytest.fixture(scope="module")
def masks(folder: Path) -> Path:
    """A square in the middle, of all but one picture; of another it is everywhere, of one it has another size."""
    place = folder.with_name("masks")
    for picture in sorted(folder.rglob("*.png")):
        mask = np.zeros((36, 44), np.uint8)
        mask[10:24, 14:30] = 255
        target = place / picture.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(target)
    (place / "red" / "0.png").unlink()
    Image.fromarray(np.full((36, 44), 255, np.uint8)).save(place / "red" / "1.png")
    Image.fromarray(np.full((36, 80), 255, np.uint8)).save(place / "red" / "2.png")
    return place


@pytest.fixture(scope="module")
def network(data: Dataset) -> Network:
    return tiny_network(data.classes)


@pytest.fixture(scope="module")
def regions(masks: Path) -> Regions:
    return regions_of(masks)


@pytest.fixture(scope="module")
def out(network: Network, data: Dataset, regions: Regions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("out") / "audit"
    audit(network, data, FEW, regions=regions, output=AuditOutput(place))
    return place


@pytest.fixture(scope="module")
def found(out: Path) -> Audit:
    return read_audit(out)


def test_it_has_verdicts_numbers_with_intervals_curves_and_pictures(found: Audit) -> None:
    assert found.n == 12 and len(found.pictures) == 12 and not {*found.skipped} & {"quality", "sanity"}
    assert [each.method for each in found.verdicts] == ["attention", "gradcam", *PLANTED]
    names = {each.method for each in found.curves}
    assert names == {"attention", "gradcam", *PLANTED, "randomised attention", "randomised gradcam"}
    assert all(len(each.mif) == 5 for each in found.curves)
    for part in (
        "quality",
        "faithfulness",
        "sanity",
        "localisation",
        "reliance",
        "robustness",
        "artifacts",
        "positions",
    ):
        assert found.of(part), part
    for each in found.findings:
        assert each.score.n > 0 and np.isfinite(each.score.value), each
    assert found.finding("srg", "attention").baseline is not None
    commonest = Counter(picture.label for picture in found.pictures).most_common(1)[0][1]
    assert found.finding("top1").baseline.value == commonest / 12
    assert found.finding("macro_auroc").baseline.value == 0.5
    assert len(found.sentences) == 3 and [each.method for each in found.examples][:2] == ["attention", "gradcam"]
    assert found.finding("class_sensitivity", "attention").note == "it is of no class"


def test_a_planted_map_is_never_supported_and_a_constant_one_says_nothing(found: Audit) -> None:
    assert not [each for each in found.verdicts if each.method in PLANTED and each.status == "supported"]
    assert found.verdict("edges").value <= 0 and found.verdict("centre").value <= 0


def test_the_srg_is_the_area_between_the_mean_curves(found: Audit) -> None:
    for curves in found.curves:
        mif, lif = ([score.value for score in each] for each in (curves.mif, curves.lif))
        area = np.trapezoid(np.array(lif) - np.array(mif), dx=0.25)
        assert found.finding("srg", curves.method).score.value == pytest.approx(area, abs=1e-9)


def test_masks_that_are_no_use_are_named_and_the_others_used(found: Audit) -> None:
    failures = {each.message: each for each in found.failures if each.subject == "the mask"}
    named = sorted(name for each in failures.values() for name in each.names)
    assert named == ["red/0.png", "red/1.png", "red/2.png"] and len(failures) == 3
    assert found.finding("energy", "attention").score.n == 9
    assert found.finding("srg", "attention").score.n == 12


def test_masks_of_which_none_is_of_use_are_told_once_and_of_no_picture_refused(
    network: Network, data: Dataset, tmp_path: Path
) -> None:
    place = tmp_path / "blank"
    place.mkdir()
    with pytest.raises(DataError, match="blank has a mask of none of the 12 pictures; call masks"):
        audit(network, data, FEW, regions=regions_of(place))
    for number, picture in enumerate(data.pictures):
        target = (place / picture.name).with_suffix(".png")
        target.parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((50 + number, 20), np.uint8)).save(target)
    found = audit(network, data, replace(FEW, methods=("attention",)), regions=regions_of(place))
    (failure,) = (each for each in found.failures if each.subject == "the mask")
    assert failure.n == 12 and len(failure.names) == 5 and "50 × 20 pixels" in failure.message
    why = "no mask is of use; of blue/0.png: its mask has 50 × 20 pixels and the picture 36 × 44"
    assert found.skipped["localisation"] == found.skipped["reveal path"] == why
    assert found.sentences[1] == f"What it relies on was not measured: {why}."
    target.write_bytes(b"nothing")
    again = audit(network, data.select([11]), replace(FEW, methods=("attention",)), regions=regions_of(place))
    assert again.skipped["localisation"].startswith("no mask is of use; of red/2.png: blank/red/2.png is not a picture")


def test_pictures_that_cannot_be_read_are_named_and_lend_nothing(
    network: Network, folder: Path, regions: Regions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(folder, tmp_path / "data")
    broken = [tmp_path / "data" / "blue" / "0.png", tmp_path / "data" / "grey" / "1.png"]
    broken[0].write_bytes(broken[0].read_bytes()[:900])  # its size can be read, its pixels cannot
    broken[1].write_bytes(b"nothing")
    data = read(tmp_path / "data")
    full = replace(FEW, methods=("attention",), full=True)
    with pytest.raises(DataError, match=r"blue.0\.png is a broken picture"):
        audit(network, data, full, regions=regions)
    caplog.clear()
    found = audit(network, data, replace(full, skip_bad=True), regions=regions)
    assert found.n == 10 and found.failures[0].names == ("blue/0.png", "grey/1.png")
    assert str(found.failures[0]).startswith("reading failed on 2 pictures")
    assert sum("skipped: " in each.message for each in caplog.records) == 2
    assert found.finding("srg", "attention", "other").score.n == 10 and found.finding("background_reliance") is not None
    single = audit(network, data, replace(full, skip_bad=True, batch_size=1), regions=regions)
    for one, other in zip(single.pictures, found.pictures, strict=True):
        assert one.numbers == pytest.approx(other.numbers, abs=1e-4), one.name
    for path in (tmp_path / "data").rglob("*.png"):
        path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"none of 12 pictures can be read; of the first: .*blue.0\.png"):
        audit(network, read(tmp_path / "data"), replace(FEW, skip_bad=True))


def test_an_interrupted_audit_goes_on_to_the_same_bytes(
    network: Network, data: Dataset, regions: Regions, out: Path, tmp_path: Path
) -> None:
    @contextmanager
    def interrupting(what: str, total: int) -> Iterator[Any]:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if done > 5:
                raise KeyboardInterrupt

        yield advance

    with pytest.raises(KeyboardInterrupt, match="5 of 12 pictures are done"):
        audit(network, data, FEW, regions=regions, output=AuditOutput(tmp_path / "audit"), progress=interrupting)
    assert not (tmp_path / "audit").exists()
    audit(network, data, FEW, regions=regions, output=AuditOutput(tmp_path / "audit"))
    files = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert files == sorted(p.relative_to(tmp_path / "audit") for p in (tmp_path / "audit").rglob("*") if p.is_file())
    for name in files:
        assert (tmp_path / "audit" / name).read_bytes() == (out / name).read_bytes(), name
    assert not (tmp_path / "audit.part").exists()


def test_chunks_of_any_size_give_the_same_numbers(
    network: Network, data: Dataset, regions: Regions, found: Audit
) -> None:
    single = audit(network, data, replace(FEW, batch_size=1), regions=regions)
    for one, other in zip(single.pictures, found.pictures, strict=True):
        assert one.numbers.keys() == other.numbers.keys()
        for name, value in one.numbers.items():
            assert value == pytest.approx(other.numbers[name], abs=1e-4), (one.name, name)


def test_without_labels_and_without_masks_the_rest_is_measured(network: Network, data: Dataset) -> None:
    bare = replace(data, pictures=tuple(replace(each, label=None) for each in data.pictures), classes=())
    found = audit(network, bare, FEW)
    assert {"quality", "localisation", "reliance on the background", "reveal path"} <= {*found.skipped}
    assert found.of("faithfulness") and found.of("sanity") and not found.of("quality")
    assert "no labels" in found.sentences[0] and "--masks" in found.sentences[1]
    assert found.pictures[0].label == "" and found.pictures[0].right is None


def test_one_picture_alone_decides_nothing_and_breaks_nothing(
    network: Network, data: Dataset, regions: Regions
) -> None:
    found = audit(network, data.select([4]), FEW, regions=regions)
    assert found.n == 1 and {each.status for each in found.verdicts if each.method not in PLANTED} == {"not decidable"}
    assert "cannot be decided" in found.sentences[2] and found.best == ()


def test_labels_that_the_network_does_not_know_are_refused(data: Dataset) -> None:
    with pytest.raises(DataError, match="labels that do not fit the network"):
        audit(tiny_network(("cat", "dog")), data, FEW)


def test_by_group_units_are_groups(network: Network, data: Dataset) -> None:
    rows = tuple(replace(each, columns={"site": each.name[0]}) for each in data.pictures)
    found = audit(network, replace(data, pictures=rows), replace(FEW, group="site", slices=("site",)))
    assert {each.n for each in found.verdicts} == {3}  # blue, green and grey, red
    assert found.finding("top1", "site: r") is not None


def test_a_method_that_fails_on_one_picture_is_named_and_the_others_stand(
    network: Network, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regard.explanation.pictures import gradients

    original = gradients.gradcam
    broken = network.preparation.normalise(torch.from_numpy(_prepared(network, data, 3).copy())[None])

    def failing(network: Network, pixels: torch.Tensor, **settings: Any) -> Any:
        if any(torch.allclose(each, broken[0]) for each in pixels):
            raise ValueError("too red")
        return original(network, pixels, **settings)

    failing.__module__ = original.__module__
    monkeypatch.setattr(gradients, "gradcam", failing)
    found = audit(network, data, FEW)
    failures = {each.subject: each for each in found.failures}
    assert failures["gradcam"].names == (data.names[3],) and failures["gradcam"].message == "too red"
    assert found.finding("srg", "gradcam").score.n == 11 and found.finding("srg", "attention").score.n == 12


def _prepared(network: Network, data: Dataset, index: int) -> Any:
    from regard.data.images.preparation import read_pixels

    return read_pixels(data.pictures[index].opener, network.preparation)[0]


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.features(x).mean(dim=(2, 3)))
        return found


def test_of_a_network_without_attention_the_other_methods_are_audited(network: Network, data: Dataset) -> None:
    torch.manual_seed(0)
    convolutional = load(Convolutional(), classes=list(data.classes), preparation=network.preparation)
    found = audit(convolutional, data, AuditSettings(workers=0, steps=4))
    assert [each.method for each in found.verdicts if each.method not in PLANTED] == ["gradcam"]
    assert {"attention", "rollout", "grad_attention", "libra_fullgrad_plus"} <= {*found.skipped}
    assert {each.occluder for each in found.curves} == {"mean"}
    with pytest.raises(NetworkError):
        audit(convolutional, data, replace(FEW, methods=("attention",)))


def test_of_swin_pixels_are_taken_away_in_full_too(data: Dataset) -> None:
    small = {"img_size": 64, "window_size": 4, "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]}
    swin = load("random:swin_tiny_patch4_window7_224", classes=data.classes, arguments=small)
    found = audit(swin, data.select(range(0, 12, 3)), AuditSettings(workers=0, steps=4, full=True))
    assert [each.method for each in found.verdicts if each.method not in PLANTED] == ["gradcam"]
    assert {each.occluder for each in found.curves} == {"mean", "blur", "other"}
    assert {"attention", "libra_fullgrad_plus", "artifacts", "positions"} <= {*found.skipped}
    assert {"adversary", "ceiling"} <= {each.subject for each in found.of("faithfulness", "deletion")}


def test_boxes_outside_the_picture_are_named_and_those_partly_outside_cut(
    network: Network, folder: Path, data: Dataset, tmp_path: Path
) -> None:
    boxes = [[30, 20, 50, 50], [-9, -9, 25, 25], [100, 100, 9, 9], [5, 5, 0, 0], [-5, -5, 90, 90], ["a", 1, 2, 3]]
    pictures = [{"id": i, "file_name": name, "width": 44, "height": 36} for i, name in enumerate(data.names)]
    annotations = [{"id": i, "image_id": i, "category_id": 1, "bbox": box} for i, box in enumerate(boxes)]
    about = {"images": pictures, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    shutil.copytree(folder, tmp_path / "data")
    (tmp_path / "data" / "boxes.json").write_text(json.dumps(about))
    found = audit(network, data, FEW, regions=regions_of(tmp_path / "data" / "boxes.json"))
    names = data.names
    failures = {each.message.partition(" (")[0]: each.names for each in found.failures if each.subject == "the mask"}
    assert failures["the object is not in what the network sees"] == (names[2], names[3])
    assert failures["the object is all that the network sees"] == (names[4],)
    assert failures["boxes.json has no mask of it"] == tuple(names[6:11])
    assert any("cannot be read" in message and each == (names[5],) for message, each in failures.items())
    assert found.finding("energy", "attention").score.n == 2


def test_full_takes_all_occluders(network: Network, data: Dataset) -> None:
    found = audit(network, data.select(range(6)), replace(FEW, methods=("attention",), full=True))
    conditions = {each.condition for each in found.of("faithfulness", "srg") if each.subject == "attention"}
    assert conditions == {"", "mean", "blur", "other"}
    assert {each.condition for each in found.of("faithfulness", "occluder_reliability")} == {
        "tokens",
        "mean",
        "blur",
        "other",
    }


def test_full_plants_an_adversary_and_a_ceiling_and_without_it_their_lack_is_named(
    network: Network, data: Dataset, found: Audit
) -> None:
    full = audit(network, data.select(range(0, 12, 2)), replace(FEW, full=True))
    adversary, ceiling = (full.finding("deletion", name) for name in ("adversary", "ceiling"))
    assert (
        adversary.against in ("attention on 4 × 4 cells", "gradcam on 4 × 4 cells")
        and adversary.score.n == ceiling.score.n == 6
    )
    assert adversary.score.value <= ceiling.score.value < ceiling.baseline.value  # each at what it was made for
    names = {(each.measure, each.condition) for each in full.findings if each.subject == "adversary" and each.note}
    best = adversary.against
    gained = (("deletion", ""), ("insertion", ""), ("srg", ""), ("deletion", "mean, "), ("srg", "mean, "))
    assert names == {(measure, f"{where}better than {best}") for measure, where in gained}
    assert "--full" in found.skipped["the ceiling"] and "--full" in found.skipped["the adversary"]


def test_the_network_s_positions_and_artifact_tokens_have_their_numbers(found: Audit) -> None:
    assert [each.method for each in found.claims] == ["neighbour_gain"]  # 4 × 4 patches have no others
    assert found.finding("artifact_share").score.n == 12
    assert found.finding("artifact_share", condition="median filter").baseline == found.finding("artifact_share").score
    assert found.finding("attention_on_object", condition="untreated").score.n == 9
    assert Audit.from_json(found.as_json()).claims == found.claims


def test_maps_from_outside_of_any_size_get_the_verdict_of_the_method_they_are_of(
    network: Network, data: Dataset, found: Audit, tmp_path: Path
) -> None:
    explanation = Explainer(network)([picture.opener.path for picture in data.pictures], method="gradcam")
    for name, heatmap in zip(data.names, explanation, strict=True):
        target = tmp_path / "mine" / Path(name).with_suffix(".npy")
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, heatmap.values)
    again = audit(network, data, replace(FEW, methods=(), maps=tmp_path / "mine"))
    assert again.finding("srg", "mine").score.value == pytest.approx(
        found.finding("srg", "gradcam").score.value, abs=1e-6
    )
    assert [each.method for each in again.verdicts if each.method not in PLANTED] == ["mine"]
    assert "came from outside" in again.verdict("mine").why
    (tmp_path / "mine" / "red" / "1.npy").unlink()
    np.save(tmp_path / "mine" / "red" / "0.npy", np.zeros((36, 44)))  # of the picture's own pixels
    fewer = audit(network, data, replace(FEW, methods=(), maps=tmp_path / "mine"))
    failure = next(each for each in fewer.failures if each.subject == "mine")
    assert failure.names == ("red/1.png",) and "has no map of it" in failure.message


def test_maps_from_outside_of_wrong_names_or_shapes_are_one_clear_line(
    network: Network, data: Dataset, tmp_path: Path
) -> None:
    settings = replace(FEW, methods=(), maps=tmp_path / "mine")
    with pytest.raises(DataError, match="is no folder of maps"):
        audit(network, data, settings)
    (tmp_path / "mine" / "red").mkdir(parents=True)
    np.save(tmp_path / "mine" / "other.npy", np.zeros((4, 4)))
    with pytest.raises(DataError, match=r"no map in .* has the name of a picture"):
        audit(network, data, settings)
    np.save(tmp_path / "mine" / "red" / "0.npy", np.zeros((5, 7)))
    with pytest.raises(DataError, match=r"5 × 7; it must be 4 × 4 .* 32 × 32 .* or 36 × 44"):
        audit(network, data, settings)
    (tmp_path / "mine" / "red" / "0.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read as an array"):
        audit(network, data, settings)
    (tmp_path / "mine").rename(tmp_path / "attention")
    np.save(tmp_path / "attention" / "red" / "0.npy", np.zeros((4, 4)))
    with pytest.raises(UsageError, match="as a method of regard is"):
        audit(network, data, replace(settings, maps=tmp_path / "attention"))


def test_a_map_of_a_pictures_pixels_is_averaged_over_what_the_network_sees() -> None:
    values = np.arange(24.0).reshape(4, 6)
    cells = within(values, (1, 0, 5, 4), 2, 2)  # the middle four columns
    expected = [
        [np.mean(values[:2, 1:3]), np.mean(values[:2, 3:5])],
        [np.mean(values[2:, 1:3]), np.mean(values[2:, 3:5])],
    ]
    np.testing.assert_allclose(cells, expected)
    assert np.isnan(within(values, (-4, 0, 6, 4), 1, 5)[0, 0])  # beyond the picture


def test_a_batch_that_fails_is_tried_one_by_one() -> None:
    def make(batch: MapBatch) -> Any:
        if "bad" in batch.names:
            raise RuntimeError("bad weather\nand more")
        return np.stack([np.full((2, 2), np.nan if name == "empty" else 1.0) for name in batch.names])

    names = ("a", "bad", "empty", "b")
    batch = MapBatch(torch.zeros(4, 3, 8, 8), (0,) * 4, names, ((8, 8),) * 4)
    maps, failures = AuditedMethod("m", make, {}).maps(batch)
    assert [each is None for each in maps] == [False, True, True, False]
    assert failures == {1: "bad weather", 2: "its map has no finite value"}


def test_verdicts_are_found_again_for_the_same_network_and_settings(
    network: Network, data: Dataset, out: Path, tmp_path: Path
) -> None:
    job = Explainer(network).job("attention", _options())
    verdict = find(out, "attention", job.about.settings, job.about.provenance)
    assert verdict is not None and verdict.verdict.method == "attention"
    digests = [picture.opener.digest() for picture in data.pictures]
    assert "measured on" not in verdict.text(digests) and "measured on 12 pictures of data" in verdict.text(["0" * 64])
    assert find(out, "attention", {**job.about.settings, "layer": 0}, job.about.provenance) is None
    assert find(out, "attention", job.about.settings, {**job.about.provenance, "precision": "bfloat16"}) is None
    other = Explainer(tiny_network(data.classes, seed=1)).job("attention", _options())
    assert find(out, "attention", other.about.settings, other.about.provenance) is None
    assert find(tmp_path, "attention", job.about.settings, job.about.provenance) is None


def _options(**settings: Any) -> Any:
    from regard.predictors.method_options import MethodOptions

    return MethodOptions.of(settings)


@pytest.mark.parametrize(
    ("method", "same", "other"),
    [
        ("attention", {"layer": 1}, {"layer": 0}),
        ("gradcam", {"layer": 1}, {"layer": 0}),
        ("logit_lens", {"layer": 1}, {"layer": 0}),
        ("legrad", {"start": 0}, {"start": 1}),
        ("transition", {"start": 1}, {"start": 0}),
        ("activation_patching", {"start": 0}, {"start": 1}),
        ("rollout", {"start": 0, "query": "cls"}, {"start": 1}),
    ],
)
def test_a_default_and_its_number_have_the_same_verdict_and_the_same_map(
    method: str, same: dict[str, Any], other: dict[str, Any], network: Network, data: Dataset
) -> None:
    explainer = Explainer(network)
    settings = method_of(method, network).settings
    picture = data.pictures[0].opener.path
    default = explainer(picture, method=method)
    for choice, is_same in ((same, True), (other, False)):
        about = explainer.job(method, _options(**choice)).about.settings
        assert (
            json.loads(json.dumps({**about, "precision": "float32"})) == json.loads(json.dumps(settings))
        ) is is_same
        chosen = explainer(picture, method=method, **choice)
        assert np.array_equal(chosen.heatmaps[0].values, default.heatmaps[0].values) is is_same


def test_verdicts_go_into_the_run_and_others_stay(network: Network, data: Dataset, tmp_path: Path) -> None:
    run = save_network(network, tmp_path / "run")
    audit(network, data, replace(FEW, methods=("attention",)), output=AuditOutput(run=run))
    audit(network, data.select(range(6)), replace(FEW, methods=("gradcam",)), output=AuditOutput(run=run))
    audit(network, data, replace(FEW, methods=("attention",)), output=AuditOutput(run=run))
    stored = json.loads((run / "verdicts.json").read_text())
    assert sorted(each["method"] for each in stored["verdicts"]) == ["attention", "gradcam"]
    assert sorted(each["n"] for each in stored["data"].values()) == [6, 12]


COMMAND = ("--methods", "attention", "--workers", 0, "--split", "all", "--seed", 0)


def test_the_command_writes_says_and_holds_to_rules(
    network: Network, folder: Path, masks: Path, tmp_path: Path, run: Any
) -> None:
    model = save_network(network, tmp_path / "run")
    words = ("audit", folder, "--model", model, "--masks", masks, *COMMAND)
    rules = (
        "--require",
        "top1>=0",
        "--require",
        "srg:attention.high>=2",
        "--require",
        "verdict:attention=contradicted",
    )
    code, printed, messages = run(*words, "--out", tmp_path / "out", *rules, "--json")
    result = json.loads(printed)
    assert code == 1 and len(result["unmet"]) == 2 and result["n"] == 12
    assert sum("is not met" in line for line in messages.splitlines()) == 2
    assert "auditing 12 pictures takes about" in messages
    assert (tmp_path / "out" / "manifest.json").is_file() and (model / "verdicts.json").is_file()
    assert "supported" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    code, printed, _ = run(*words, "--require", "top1>=0", "--require", "robustness::blur, weak>=0")
    assert code == 0 and "attention: " in printed
    rules = ("robustness>=0", "energy:attention:x>=0", "srg:ceiling>=0", "srg:randomised attention>=-1")
    code, _, messages = run(*words, *(word for rule in rules for word in ("--require", rule)))
    lines = [line for line in messages.splitlines() if "names nothing that was measured" in line]
    assert code == 1 and len(lines) == 3 and "there are: robustness::" in lines[0]
    assert "there are: energy:attention; " in lines[1] and "srg:attention; " in lines[2]
    code, _, messages = run(*words, "--out", tmp_path / "out")
    assert code == 1 and "exists already" in messages


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("worst_slice>=0.8", "there are no slices"),
        ("top2>=0.8", "unknown measure"),
        ("top1", "is no rule"),
        ("top1>=much", "which is no number"),
        ("top1=1", "is no rule"),
        ("srg:rollout>=0", "none of the methods"),
        ("srg>=0", "srg is of a method; write srg:METHOD (attention, random"),
        ("energy:attention>=0", "give --masks"),
        ("verdict:attention=good", "a verdict is one of"),
    ],
)
def test_a_rule_that_names_nothing_is_refused_before_any_work(
    rule: str, why: str, folder: Path, tmp_path: Path, run: Any
) -> None:
    code, _, messages = run("audit", folder, "--model", "nowhere", *COMMAND, "--require", rule)
    assert code == 2 and why in messages.splitlines()[-1] and "Traceback" not in messages, messages


def test_explain_shows_the_verdict_of_the_run_or_of_an_audits_folder(
    network: Network, folder: Path, data: Dataset, out: Path, tmp_path: Path, run: Any
) -> None:
    model = save_network(network, tmp_path / "run")
    words = ("explain", folder / "red", "--model", model, "--workers", 0)
    code, printed, _ = run(*words, "--out", tmp_path / "a", "--method", "gradcam")
    assert code == 0 and "verdict of an audit" not in printed
    code, printed, _ = run(*words, "--out", tmp_path / "b", "--method", "gradcam", "--audit", out)
    assert code == 0 and "verdict of an audit: " in printed and "measured on" not in printed
    audit(network, data.select(range(3)), replace(FEW, methods=("gradcam",)), output=AuditOutput(run=model))
    code, printed, _ = run(*words, "--out", tmp_path / "c", "--method", "gradcam", "--json")
    verdict = json.loads(printed)["verdict"]
    assert code == 0 and "measured on 3 pictures of data" in verdict
    stored = Explanation.load(tmp_path / "c")
    assert stored.verdict == verdict and f"audit: {verdict}" in str(stored)
    assert caption_of(stored, 0).endswith(f"audit: {verdict}")
    run(*words, "--out", tmp_path / "c.parquet", "--method", "gradcam")
    assert read_table(tmp_path / "c.parquet").verdict == verdict
    assert Explanation.load(tmp_path / "a").verdict == ""
    code, printed, _ = run(*words, "--out", tmp_path / "d", "--method", "gradcam", "--target", "red", "--json")
    assert code == 0 and json.loads(printed)["verdict"] is None  # other settings
    code, _, messages = run(*words, "--out", tmp_path / "e", "--audit", tmp_path / "a")
    assert code == 1 and "holds no verdicts.json" in messages


def test_a_method_finds_its_class_in_a_montage_better_than_chance_only_where_it_does(
    network: Network, data: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from regard.audit.pictures import grid_pointing

    original = grid_pointing.montages
    monkeypatch.setattr(grid_pointing, "montages", lambda names, predicted, confidence, labels, seed: original(
        names, np.arange(len(names)) % 4, np.ones(len(names)), seed=seed))  # fmt: skip
    found = audit(network, data, FEW, output=AuditOutput(tmp_path / "audit"))
    finding = found.finding("grid_pointing", "gradcam")
    assert finding is not None and finding.score.n == 12 and finding.baseline.value == 0.25
    assert "fewer than 30 montages" in finding.note and found.finding("grid_pointing", "attention") is None
    assert 0 <= finding.score.value <= 1 and "grid pointing game" not in found.skipped
    assert found.n == 12


def test_an_audit_interrupted_among_its_montages_goes_on(
    network: Network, data: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from regard.audit.pictures import grid_pointing

    original = grid_pointing.montages
    monkeypatch.setattr(grid_pointing, "montages", lambda names, predicted, confidence, labels, seed: original(
        names, np.arange(len(names)) % 4, np.ones(len(names)), seed=seed))  # fmt: skip
    whole = tmp_path / "whole"
    settings = replace(FEW, methods=("gradcam",))
    audit(network, data, settings, output=AuditOutput(whole))
    played = grid_pointing.grid_pointing
    calls = []

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return played(*arguments)

    monkeypatch.setattr(grid_pointing, "grid_pointing", interrupted)
    with pytest.raises(KeyboardInterrupt):
        audit(network, data, settings, output=AuditOutput(tmp_path / "audit"))
    audit(network, data, settings, output=AuditOutput(tmp_path / "audit"))
    assert len(calls) == 7 + 7  # five of the first batch stay
    assert (tmp_path / "audit" / "audit.json").read_bytes() == (whole / "audit.json").read_bytes()
