"""Where a network is fooled: artifact tokens and what is done against them, flips, labels in doubt; all planted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from outliers import SIZE, pictures, planted
from PIL import Image

import regard
from regard.audit.audit import audit
from regard.audit.ceiling import oracle
from regard.audit.fooled import (
    MEANS,
    MEDIAN,
    REPAIR,
    TREATMENTS,
    UNTREATED,
    artifact_findings,
    denoised,
    doubted,
    flips,
    label_errors,
    noise_of,
    token_repair,
    treated,
)
from regard.audit.pictures.gathered import Gathered
from regard.audit.pictures.planted import is_scene
from regard.audit.planted import ceiling_findings, tempered
from regard.audit.settings import AuditSettings
from regard.data.layouts import read
from regard.data.regions import regions_of
from regard.errors import NetworkError, UsageError
from regard.explanation.artifacts import artifacts
from regard.measurement.artifacts.spots import on_background, spots, where_wrong
from regard.measurement.faithfulness.curves import removal_curves
from regard.measurement.localisation.objects import input_masks
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.predict import prepared
from regard.records import AuditedPicture, Verdict


@pytest.fixture(scope="module")
def network() -> Network:
    return planted()


def shown(network: Network, count: int = 6) -> torch.Tensor:
    """The planted pictures in [0, 1], as near as they come."""
    mean, std = (torch.tensor(each)[:, None, None] for each in (network.preparation.mean, network.preparation.std))
    return (pictures(count) * std + mean).clamp(0, 1)


# denoising


def test_the_noise_of_a_picture_is_what_was_added() -> None:
    random = np.random.default_rng(0)
    slope = np.broadcast_to(np.linspace(0, 1, 60), (3, 50, 60))
    assert noise_of(slope) == pytest.approx(0, abs=1e-9)  # a slope is no noise
    for sigma in (0.02, 0.1):
        assert noise_of(slope + random.normal(0, sigma, slope.shape)) == pytest.approx(sigma, rel=0.05)
    assert noise_of(np.ones((3, 2, 9))) == 0


def test_a_median_takes_a_speck_away_and_leaves_an_edge() -> None:
    picture = torch.zeros(1, 3, 6, 6)
    picture[..., 3:] = 1
    clean = picture.clone()
    picture[0, :, 2, 1] = 1
    assert torch.equal(denoised(picture, MEDIAN), clean)


def test_non_local_means_take_noise_away_and_leave_what_has_none() -> None:
    clean = torch.zeros(1, 3, 24, 24)
    clean[..., 12:] = 0.8
    noisy = (clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    assert (denoised(noisy, MEANS) - clean).square().mean() < 0.25 * (noisy - clean).square().mean()
    plain = torch.full((1, 3, 8, 8), 0.3)
    assert torch.equal(denoised(plain, MEANS), plain)
    with pytest.raises(UsageError, match="denoiser"):
        denoised(plain, "wish")


# spots


def test_spots_solved_by_hand() -> None:
    """Four patches; the object is the left half of the first and all of the second."""
    masks = np.zeros((3, 2, 8), bool)
    masks[0, :, [0, 2, 3]] = True
    masks[1] = True  # no background: nothing can be said of where they lie
    tokens = np.array([[1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
    attention = np.array([[4.0, 2, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]])
    found = spots(tokens, attention, masks, (1, 4))
    np.testing.assert_allclose(found.share, [0.5, 0.25, 0])
    np.testing.assert_allclose(found.attention, [5 / 8, 0.25, np.nan])
    np.testing.assert_allclose(on_background(tokens, masks, (1, 4)), [0.75, np.nan, np.nan])  # a half and a whole one
    np.testing.assert_allclose(found.on_object, [0.5, np.nan, np.nan])  # 4 / 2 + 2 of 8


def test_more_artifacts_where_it_is_wrong_solved_by_hand_and_never_of_one_kind_alone() -> None:
    values = np.array([0.4, 0.2, 0.1, 0.1, np.nan, 0.3])
    wrong = np.array([True, True, False, False, True, False])
    found = where_wrong(values, wrong)
    assert found.value == pytest.approx(0.3 - 0.5 / 3) and found.low < found.value < found.high and found.n == 5
    assert np.isnan(where_wrong(values, np.zeros(6, bool)).value)
    assert np.isnan(where_wrong(values, np.ones(6, bool)).value)
    assert np.isnan(where_wrong(values, wrong, np.array([0, 0, 1, 1, 0, 1])).value)  # all that is wrong in one group


# treatments


def test_untreated_is_what_artifacts_says_and_a_repair_takes_them_away(network: Network, tmp_path: Path) -> None:
    for number, picture in enumerate(shown(network, 8)):
        array = picture.permute(1, 2, 0).mul(255).round().byte().numpy()
        Image.fromarray(array).save(tmp_path / f"{number}.png")
    every = read(tmp_path, labels=False)
    scored = every.select(range(4, 8))
    repair = token_repair(network, scored, every)
    assert repair.network is not None and not repair.searched.any()  # searched in the four others
    found = {each.treatment: each for each in treated(network, shown(network), None, repair.network)}
    assert [*found] == [*TREATMENTS]
    before = artifacts(network, [network.preparation.normalise(shown(network).permute(0, 2, 3, 1) * 255)])
    assert found[UNTREATED].spots.share.mean() == pytest.approx(before.blocks[-1].share) and before.first is not None
    assert found[REPAIR].spots.share.mean() < 0.2 * found[UNTREATED].spots.share.mean()
    assert (found[UNTREATED].predicted >= 0).all()
    alone = token_repair(network, scored, scored)  # nothing else is there: half of them are not scored
    assert alone.searched.sum() == 2
    rows = [*treated(network, shown(network, 4), None, alone.network, alone.searched)]
    assert ((rows[-1].predicted == -1) == alone.searched).all()
    assert (np.isnan(rows[-1].spots.share) == alone.searched).all()


def test_why_there_is_no_repair_is_named(network: Network, tmp_path: Path) -> None:
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "one.png")
    assert "too few" in token_repair(network, read(tmp_path, labels=False), None).why
    Image.new("RGB", SIZE[::-1], "red").save(tmp_path / "two.png")
    healthy = planted(answers=False)
    assert (
        "no artifact tokens were found in 1 pictures" in token_repair(healthy, read(tmp_path, labels=False), None).why
    )
    swin = load("random:resnet10t", arguments={"num_classes": 3})
    assert "resnet10t" in token_repair(swin, read(tmp_path, labels=False), None).why
    with pytest.raises(NetworkError):
        next(treated(swin, torch.zeros(1, 3, 64, 64)))


# what is reported


def gathered(count: int = 6) -> Gathered:
    return Gathered(np.arange(count), np.array([0, 0, 1, 1, 0, 1][:count]), np.full((count, 2), 0.5, np.float32))


def test_findings_of_artifacts_are_paired_and_say_what_they_are_read_against() -> None:
    measured = gathered()
    share = np.array([0.1, 0.2, 0.1, 0.0, 0.1, 0.3])
    measured.numbers = {
        ("artifact_share", "", ""): share,
        ("artifact_share", "", MEDIAN): np.array([0.0, 0.1, 0.1, 0.0, 0.1, np.nan]),
        ("artifact_attention", "", ""): share * 2,
        ("artifacts_on_background", "", ""): np.array([1.0, 1, 0.5, np.nan, 1, 1]),
        ("background_share", "", ""): np.array([0.5, 0.5, 0.5, 0.5, 0.25, 0.5]),
        ("same_places_elsewhere", "", ""): np.array([1.0, np.nan, 0.5, 1.0, 0.9, 0.9]),
        ("accuracy", "", UNTREATED): np.array([1.0, 1, 0, 1, 1, 0]),
        ("accuracy", "", MEDIAN): np.array([1.0, 1, 1, 1, 1, 0]),
    }
    found = {(each.measure, each.condition): each for each in artifact_findings(measured, np.zeros(6, np.int64))}
    assert found["artifact_share", MEDIAN].baseline.value == pytest.approx(0.1)  # of the five that were treated
    assert found["artifact_share", f"{MEDIAN}, more than {UNTREATED}"].score.value == pytest.approx(-0.04)
    assert found["accuracy", f"{MEDIAN}, more than {UNTREATED}"].score.value == pytest.approx(1 / 6)
    lifts = {
        condition: each.score for (measure, condition), each in found.items() if measure == "artifacts_on_background"
    }
    assert lifts["more than the background's share of the area"].value == pytest.approx(4.5 / 5 - 2.25 / 5)
    assert lifts["more than the same places in other pictures"].value == pytest.approx((0 + 0 + 0.1 + 0.1) / 4)
    assert found["artifact_attention", ""].baseline.value == pytest.approx(share.mean())
    assert found["artifacts_where_wrong", ""].score.value == pytest.approx(0.4 / 3 - 0.4 / 3)
    measured.numbers["artifact_share", "", ""] = np.zeros(6)
    assert all("no more than chance" in each.note for each in artifact_findings(measured, np.full(6, -1))
               if not each.condition)  # fmt: skip


def test_a_flip_is_no_flip_where_pasting_alone_changes_the_answer() -> None:
    measured = gathered()
    assert not [*flips(measured)]
    measured.changed = {
        "control": np.array([0, 0, 1, 0, 0, -1]),  # the fourth is changed by pasting, the sixth has no mask
        "random": np.array([1, 0, 1, 0, -1, -1]),
    }
    (found,) = flips(measured)
    assert found.score.value == pytest.approx(1 / 3) and found.score.n == 3


def test_labels_in_doubt_are_counted_and_marked() -> None:
    rows = [AuditedPicture(name, "a", "b", 0.9) for name in "wxyz"]
    marked = doubted(rows, np.array([0, 2, 3]), (2, 0))
    assert [each.numbers for each in marked] == [{"label_errors": 2.0}, {}, {}, {"label_errors": 1.0}]
    assert label_errors((2, 0), 3).score.value == pytest.approx(2 / 3)


def test_where_the_ceiling_does_not_beat_the_controls_what_is_not_supported_is_left_open() -> None:
    measured = gathered()
    random = np.random.default_rng(0)
    noise = {name: random.normal(0, 0.01, 6) for name in ("centre", "edges", "random")}
    numbers = {("srg", name, ""): values for name, values in noise.items()}
    verdicts = tuple(
        Verdict("?", name, {}, "", "", status, "why", 0.0, -0.1, 0.1, 6)
        for name, status in (("attention", "contradicted"), ("gradcam", "supported"), ("random", "contradicted"))
    )
    for high, statuses in ((0.5, ("contradicted", "supported", "contradicted")),
                           (0.0, ("not decidable", "supported", "contradicted"))):  # fmt: skip
        measured.numbers = numbers | {("srg", "ceiling", ""): high + random.normal(0, 0.01, 6)}
        found = [*ceiling_findings(measured)]
        assert len(found) == 1 and bool(found[0].note) == (high == 0) and found[0].against in noise
        assert tuple(each.status for each in tempered(verdicts, found)) == statuses
    assert tempered(verdicts, ()) == verdicts


def test_on_drawn_scenes_the_ceiling_is_the_map_of_the_planted_truth(tmp_path: Path) -> None:
    regard.scenes(2, tmp_path / "drawn", size=48)
    data = read(tmp_path / "drawn", labels=False)
    network = load("random:vit_tiny_patch16_224", size=(48, 48), arguments={"depth": 1, "num_classes": 3}, seed=1)
    regions = regions_of(tmp_path / "drawn")
    settings = AuditSettings(methods=("attention",), full=True, steps=3, workers=0)
    found = audit(network, data, settings, regions=regions)
    (_, pixels), *_ = prepared(network, data.pictures, batch_size=8, workers=0)
    targets = network.logits(pixels).argmax(1).numpy()
    for place, picture in enumerate(found.pictures):
        mask = input_masks(regions, data.pictures[place : place + 1], [(48, 48)], network.preparation).masks
        one = pixels[place : place + 1]
        curves = removal_curves(network, one, oracle(mask, 3, 3)[None], targets[place : place + 1], steps=3)
        assert picture.numbers["srg:ceiling"] == pytest.approx(curves.srg[0, 0], abs=1e-6)
    assert is_scene(regions, data.pictures[0]) and not is_scene(None, data.pictures[0])
