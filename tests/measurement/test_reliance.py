"""What a network relies on: composites pixel by pixel, donors, the reveal path and noise, by hand and by twins."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter
from tiny_vits import CLASSES, CLS
from torch import Tensor

from regard.data.dataset import Picture
from regard.data.images.preparation import Preparation, batches
from regard.data.layouts import read
from regard.data.openers import ArrayOpener, FileOpener
from regard.data.regions import regions_of
from regard.errors import UsageError
from regard.measurement.blur import blurred
from regard.measurement.localisation.objects import input_masks
from regard.measurement.reliance.answers import Answers, answers, noise
from regard.measurement.reliance.compositing import (
    as_shown,
    background_alone,
    boxes,
    fillable,
    filled,
    mean_colour,
    normalised,
    object_alone,
    pasted,
)
from regard.measurement.reliance.foreground import by_place, sensitivity, under_noise
from regard.measurement.reliance.reveal import decompose, reveal
from regard.measurement.reliance.robustness import STRENGTHS, corrupted, robustness
from regard.measurement.reliance.swaps import FEWEST, SWAPS, VARIANTS, draw_donors, lent_backgrounds, reliance, swaps
from regard.networks.load import load
from regard.networks.network import Network
from regard.scenes import write_scenes


@pytest.fixture(scope="module")
def network() -> Network:
    return CLS.network()


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    """(6, 3, 16, 24) in [0, 1]."""
    return torch.rand(6, 3, *CLS.size, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def masks() -> Tensor:
    """(6, 16, 24): small objects, then an oblique one whose box is everything, none, and one that is everything."""
    found = torch.zeros(6, 16, 24, dtype=torch.bool)
    found[0, 4:9, 3:10] = True
    found[1, 10:16, 12:20] = True
    found[2, 6:8, 20:24] = True
    found[3] = torch.eye(24, dtype=torch.bool)[4:20].roll(1, 0) | (torch.arange(24) == 0) | (torch.arange(24) == 23)
    found[5] = True
    return found


def shown_answers(network: Network, pictures: Tensor) -> np.ndarray:
    """(pictures, classes): written out, one picture after the other."""
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (network.preparation.mean, network.preparation.std))
    with torch.no_grad():
        return np.stack([network.module((each - mean)[None] / std)[0].double().softmax(0).numpy() for each in pictures])


def test_shown_pictures_are_those_that_the_network_is_given() -> None:
    pixels = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for more in ({}, {"colours": "BGR", "mean": (0.1, 0.2, 0.3)}, {"colours": "L", "mean": (0.4,), "std": (0.5,)}):
        preparation = Preparation(4, 5, **more)
        whole = as_shown(pixels)
        torch.testing.assert_close(normalised(whole, preparation), preparation.normalise(pixels))
        torch.testing.assert_close(whole, pixels.permute(0, 3, 1, 2) / 255)  # and is left as it was
        grey = mean_colour(preparation)[None, :, None, None].expand(1, 3, 4, 5)
        assert float(normalised(grey, preparation).abs().max()) < 1e-6


def test_a_box_by_hand() -> None:
    """Rows 4 to 8 and columns 10 to 19 with a twentieth, at least a pixel, on each side; cut at the edge."""
    masks = torch.zeros(3, 12, 20, dtype=torch.bool)
    masks[0, 4, 10] = masks[0, 8, 19] = True
    masks[1] = True
    expected = torch.zeros(12, 20, dtype=torch.bool)
    expected[3:10, 9:] = True
    found = boxes(masks)
    torch.testing.assert_close(found[0], expected)
    assert found[1].all() and not found[2].any()
    assert fillable(masks).tolist() == [True, False, False]
    share = 1 - 7 * 11 / 240  # lies around the box
    assert fillable(masks, share - 0.01)[0] and not fillable(masks, share + 0.01)[0]


def test_a_filled_hole_goes_on_as_what_is_around_it() -> None:
    """A constant stays one, what is known stays as it is, and the hole lies between the values around it."""
    flat = torch.full((1, 3, 17, 23), 0.3)
    holes = torch.zeros(1, 17, 23, dtype=torch.bool)
    holes[:, 5:14, 2:21] = True
    torch.testing.assert_close(filled(torch.where(holes[:, None], 9.0, flat), holes), flat)
    slope = torch.linspace(0, 1, 23).expand(1, 3, 17, 23)
    found = filled(torch.where(holes[:, None], 9.0, slope), holes)
    torch.testing.assert_close(found[0, :, ~holes[0]], slope[0, :, ~holes[0]])
    assert float(found.min()) >= 0 and float(found.max()) <= 1
    assert float((found - slope).abs().max()) < 0.25  # smooth, and nearly the slope itself
    assert not filled(flat, torch.ones_like(holes)).any()  # nothing to fill from: black, and no NaN


def test_composites_pixel_by_pixel(pictures: Tensor, masks: Tensor) -> None:
    colour = torch.tensor([0.1, 0.2, 0.3])
    alone = object_alone(pictures, masks, colour)
    background = background_alone(pictures, masks)
    swapped = pasted(pictures, masks, background.roll(1, 0))
    box = boxes(masks)
    for row in range(len(pictures)):
        for y, x in np.ndindex(16, 24):
            inside = bool(masks[row, y, x])
            assert alone[row, :, y, x].tolist() == (pictures[row, :, y, x] if inside else colour).tolist()
            if not box[row, y, x]:
                assert background[row, :, y, x].tolist() == pictures[row, :, y, x].tolist()
            lender = pictures[row] if inside else background[row - 1]
            assert swapped[row, :, y, x].tolist() == lender[:, y, x].tolist()


def test_no_object_shows_in_its_filled_box(pictures: Tensor, masks: Tensor) -> None:
    other = torch.where(masks[:3, None], 1 - pictures[:3], pictures[:3])
    torch.testing.assert_close(background_alone(other, masks[:3]), background_alone(pictures[:3], masks[:3]))


def test_composites_do_not_depend_on_the_batch(pictures: Tensor, masks: Tensor) -> None:
    each = torch.cat([background_alone(pictures[[row]], masks[[row]]) for row in range(6)])
    torch.testing.assert_close(background_alone(pictures, masks), each, rtol=0, atol=1e-6)


def test_answers_by_hand(network: Network, pictures: Tensor) -> None:
    expected = shown_answers(network, pictures)
    targets = np.array([0, 1, 2, 3, 4, 0])
    among = torch.tensor([True, False, True, True, True, True])
    found = answers(network, [("all", pictures, None), ("some", pictures, among)], targets, batch_size=4)
    np.testing.assert_array_equal(found.predicted[0], expected.argmax(1))
    np.testing.assert_allclose(found.probability[0], expected[np.arange(6), targets], atol=1e-6)
    assert found.predicted[1, 1] == -1 and np.isnan(found.probability[1, 1])
    labels = found.predicted[0].copy()
    labels[2] = (labels[2] + 1) % CLASSES
    labels[3] = -1
    np.testing.assert_array_equal(found.correct(labels), [[1, 1, 0, np.nan, 1, 1], [1, np.nan, 0, np.nan, 1, 1]])
    one = answers(network, [("all", pictures, None), ("some", pictures, among)], targets, batch_size=1)
    np.testing.assert_allclose(one.probability, found.probability, atol=1e-6)
    np.testing.assert_array_equal(found.joined(one).predicted[:, 6:], one.predicted)
    assert found.of("some")[0][1] == -1


NAMES = [f"{label}_{index}.jpg" for label in "abc" for index in range(7)]
LABELS = [name[0] for name in NAMES]


def test_donors_are_of_other_classes_or_of_the_same() -> None:
    usable = np.ones(21, bool)
    usable[:2] = False
    other = draw_donors(NAMES, LABELS, NAMES, LABELS, usable)
    same = draw_donors(NAMES, LABELS, NAMES, LABELS, usable, same=True)
    assert all(LABELS[donor] != label for donor, label in zip(other, LABELS, strict=True))
    assert not {0, 1} & {*other.tolist(), *same.tolist()}
    for row, donor in enumerate(same):
        few = row >= 2 and LABELS[row] == "a"  # four others can lend
        assert (donor == -1) == few
        assert few or (LABELS[donor] == LABELS[row] and donor != row)
    assert FEWEST == 5
    assert (draw_donors(NAMES, LABELS, NAMES, LABELS, usable, seed=1) != other).any()


def test_donors_are_those_of_a_name_whatever_the_order_or_chunk() -> None:
    order = np.random.default_rng(0).permutation(21)
    names, labels = ([values[at] for at in order] for values in (NAMES, LABELS))
    for same in (False, True):
        whole = draw_donors(NAMES, LABELS, NAMES, LABELS, np.ones(21, bool), same=same)
        chunk = draw_donors(NAMES[3:9], LABELS[3:9], names, labels, np.ones(21, bool), same=same)
        assert [names[at] for at in chunk] == [NAMES[at] for at in whole[3:9]]


def test_donors_without_labels_or_other_classes() -> None:
    usable = np.ones(3, bool)
    for labels in ([None] * 3, ["a"] * 3):
        donors = draw_donors("xyz", labels, "xyz", labels, usable)
        assert all(donor >= 0 and donor != row for row, donor in enumerate(donors))
    assert draw_donors("x", ["a"], "x", ["a"], usable[:1]).tolist() == [-1]  # one picture only
    assert draw_donors("xyz", [None] * 3, "xyz", [None] * 3, usable, same=True).tolist() == [-1] * 3


def test_backgrounds_are_lent_by_the_donors_that_can(tmp_path: Path) -> None:
    """Scenes, whose regions say where the animal is; one donor is not chosen, one has no mask, one cannot be read."""
    write_scenes(4, tmp_path / "scenes", size=64)
    dataset = read(tmp_path / "scenes", labels=False)
    regions = regions_of(tmp_path / "scenes")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    strangers = [Picture("z.png", ArrayOpener(np.ones((8, 8, 3), np.uint8), "z"))]
    strangers += [Picture("y.png", FileOpener(tmp_path / "broken.png"))]
    donors = [*dataset.pictures, *strangers]
    preparation = Preparation(32, 48, mode="squash")
    backgrounds, available = lent_backgrounds(donors, np.array([2, -1, 4, 2, 0, 5]), regions, preparation)
    assert available.tolist() == [True, False, False, True, True, False] and not backgrounds[~available].any()
    (batch,) = batches(dataset.pictures, preparation, workers=0)
    masks = torch.from_numpy(input_masks(regions, dataset.pictures, batch.sizes, preparation).masks)
    for row, picture in enumerate(dataset.pictures):
        known = regions.find(picture.name)
        expected = np.asarray(Image.fromarray(known.mask(known.objects)).resize((48, 32), Image.Resampling.BOX))
        assert (masks[row].numpy() == expected).mean() > 0.97
    expected = background_alone(as_shown(batch.pixels), masks)
    torch.testing.assert_close(backgrounds[torch.from_numpy(available)], expected[[2, 2, 0]])


def test_swaps_by_hand(network: Network, pictures: Tensor, masks: Tensor) -> None:
    """Each variant is the composite that it says; empty and full masks, and wide boxes, have the variants they can."""
    donors = np.array([1, 0, 1, 2, 0, 1])
    others = background_alone(pictures, masks)[donors]
    lent = np.array([True, True, False, True, True, True])
    targets = np.array([0, 1, 2, 3, 4, 0])
    found = swaps(network, pictures, masks, targets, {"random": (others, lent)}, batch_size=4)
    assert found.variants == (*VARIANTS, "random") and "random" in SWAPS
    made = {
        "original": [True] * 6,
        "object": [True, True, True, True, False, True],
        "background": [True, True, True, False, False, False],
        "control": [True, True, True, False, False, False],
        "random": [True, True, False, True, False, True],
    }
    background = background_alone(pictures, masks)
    composites = {
        "original": pictures,
        "object": object_alone(pictures, masks, mean_colour(network.preparation)),
        "background": background,
        "control": pasted(pictures, masks, background),
        "random": pasted(pictures, masks, others),
    }
    for name, rows in made.items():
        predicted, probability = found.of(name)
        expected = shown_answers(network, composites[name])
        assert (predicted >= 0).tolist() == np.isfinite(probability).tolist() == rows
        np.testing.assert_array_equal(predicted[rows], expected.argmax(1)[rows])
        np.testing.assert_allclose(probability[rows], expected[np.arange(6), targets][rows], atol=1e-6)
    lost = reliance(found.probability, found.variants)
    np.testing.assert_array_equal(np.isfinite(lost), [True, True, False, False, False, False])
    np.testing.assert_allclose(lost[:2], (found.of("control")[1] - found.of("random")[1])[:2])


def test_a_network_that_looks_at_the_background_alone_relies_on_it() -> None:
    """Its class is whether the upper left pixel, which is background, is bright; one that looks at the object relies on
    nothing."""

    class Pixel(torch.nn.Module):
        def __init__(self, y: int, x: int) -> None:
            super().__init__()
            self.place = (y, x)
            self.scale = torch.nn.Parameter(torch.tensor(20.0))

        def forward(self, x: Tensor) -> Tensor:
            bright = self.scale * x[:, 0, self.place[0], self.place[1]]
            return torch.stack([-bright, bright], dim=1)

    pictures = torch.full((4, 3, 16, 16), 0.1)
    pictures[2:] = 0.9
    masks = torch.zeros(4, 16, 16, dtype=torch.bool)
    masks[:, 6:10, 6:10] = True
    labels = np.array([0, 0, 1, 1])
    backgrounds = background_alone(pictures, masks).flip(0)
    for place, expected in (((0, 0), 1), ((7, 7), 0)):
        network = load(Pixel(*place), preparation=Preparation(16, 16))
        found = swaps(network, pictures, masks, labels, {"random": (backgrounds, np.ones(4, bool))})
        assert reliance(found.correct(labels), found.variants).tolist() == [expected] * 4
        path = reveal(network, pictures, background_alone(pictures, masks), labels)
        assert np.abs(path.endpoint).max() < 1e-6  # flat pictures: the filled box is as the object was


def test_a_path_by_hand() -> None:
    """Four stages. Evidence that dips below zero on the way; the same turned round; a trace that is gone at the end."""
    path = np.array([[0, -0.3, 0.3, 0.6], [0, 0.3, -0.3, -0.6], [0, 0.5, -0.5, 0.01], [0, 0, 0, 0]])
    found = decompose(path)
    third = 1 / 3
    np.testing.assert_allclose(found.evidence, [third * (0.15 + 0.45), third * (0.15 + 0.45), 0, 0])
    np.testing.assert_allclose(found.contradiction, [third * (0.15 + 0.15), third * (0.15 + 0.15), 0, 0])
    np.testing.assert_allclose(found.endpoint_null, [0, 0, third * (0.25 + 0.5 + 0.255), 0])
    np.testing.assert_allclose(found.endpoint, [0.6, -0.6, 0.01, 0])
    np.testing.assert_allclose(found.total, found.evidence + found.contradiction + found.endpoint_null, atol=1e-12)


def test_parts_of_any_path_sum_to_its_total() -> None:
    path = np.random.default_rng(0).uniform(-1, 1, (200, 9)) * np.random.default_rng(1).uniform(0, 0.1, (200, 1))
    path[:, 0] = 0
    found = decompose(path)
    np.testing.assert_allclose(found.evidence + found.contradiction + found.endpoint_null, found.total, atol=1e-12)
    active = np.abs(path[:, -1]) >= 0.02
    assert 0 < active.sum() < 200 and not found.endpoint_null[active].any() and not found.evidence[~active].any()


def test_the_reveal_path_is_that_of_its_twin(network: Network, pictures: Tensor, masks: Tensor) -> None:
    """scipy's blur, pictures one by one, stages one by one, in float64 where the network does not compute."""
    absent = background_alone(pictures, masks)
    targets = np.array([0, 1, 2, 3, 4, 0])
    among = np.array([True, True, True, False, False, False])
    found = reveal(network, pictures, absent, targets, among=among, batch_size=4)
    for row in range(3):
        with_it, without = (each[row].double().numpy() for each in (pictures, absent))
        start = np.stack(
            [gaussian_filter((p + a) / 2, 1.0, mode="nearest", radius=3) for p, a in zip(with_it, without, strict=True)]
        )
        r = []
        for t in np.arange(9) / 8:
            ends = [torch.from_numpy((1 - t) * start + t * end).float() for end in (with_it, without)]
            q = shown_answers(network, torch.stack(ends))[:, targets[row]]
            r.append(q[0] - q[1])
        np.testing.assert_allclose(found.path[row], r, atol=1e-5)
        total = sum((abs(r[k]) + abs(r[k + 1])) / 2 / 8 for k in range(8))
        assert found.evidence[row] + found.contradiction[row] + found.endpoint_null[row] == pytest.approx(
            total, abs=1e-6
        )
    for values in (found.evidence, found.contradiction, found.endpoint_null, found.endpoint, found.total):
        np.testing.assert_array_equal(np.isfinite(values), among)


def test_a_blur_is_scipys() -> None:
    values = torch.rand(2, 3, 11, 7, generator=torch.Generator().manual_seed(0))
    for sigma in (0.5, 2.0):
        expected = gaussian_filter(
            values.numpy(), (0, 0, sigma, sigma), mode="nearest", radius=(0, 0, *[max(1, round(3 * sigma))] * 2)
        )
        np.testing.assert_allclose(blurred(values, sigma).numpy(), expected, atol=1e-5)


def test_noise_is_the_pictures_own(network: Network, pictures: Tensor, masks: Tensor) -> None:
    """It is the same in any batch, other in each draw, with another seed, and in another picture."""
    first, second = noise(pictures, 0, 2)
    alone = next(noise(pictures[[4]], 0, 1))
    torch.testing.assert_close(first[[4]], alone)
    assert not torch.equal(first, second) and not torch.equal(first[0], first[1])
    assert not torch.equal(first, next(noise(pictures, 1, 1)))
    assert float(first.std()) == pytest.approx(1, abs=0.05)


def test_noise_lies_on_the_object_or_beside_it(network: Network, pictures: Tensor, masks: Tensor) -> None:
    targets = np.arange(6) % CLASSES
    found = under_noise(network, pictures, masks, targets, draws=2)
    assert found.variants == ("object 0", "background 0", "object 1", "background 1")
    rows = [0, 1, 2, 3]
    for draw, field in enumerate(noise(pictures, 0, 2)):
        for place, where in (("object", masks), ("background", ~masks)):
            disturbed = torch.where(where[:, None], pictures + 0.25 * field, pictures).clamp(0, 1)
            expected = shown_answers(network, disturbed)[np.arange(6), targets]
            probability = found.of(f"{place} {draw}")[1]
            np.testing.assert_allclose(probability[rows], expected[rows], atol=1e-6)
            assert np.isnan(probability[4:]).all()  # no object, and nothing but it
    both = by_place(found.probability)
    np.testing.assert_allclose(both[0, rows], (found.of("object 0")[1] + found.of("object 1")[1])[rows] / 2)
    np.testing.assert_allclose(both[1, rows], (found.of("background 0")[1] + found.of("background 1")[1])[rows] / 2)


def test_sensitivity_by_hand() -> None:
    """Class 0: .5 and 1; class 1: 0 and .5, so a = .25, b = .75, and (b - a) / (2 · .5) = .5."""
    correct = np.array([[1, 0, 0, 0], [1, 1, 0, 1]], float)
    labels = np.array([0, 0, 1, 1])
    found = sensitivity(correct, labels)
    assert found.value == pytest.approx(0.5) and -1 <= found.low < 0.5 < found.high <= 1 and found.n == 4
    assert sensitivity(correct[::-1], labels).value == pytest.approx(-0.5)
    assert sensitivity(np.repeat(correct, 3, axis=1), np.repeat(labels, 3)).value == pytest.approx(0.5)
    more = np.concatenate([correct, [[np.nan], [1]]], axis=1)
    assert sensitivity(more, np.append(labels, 7)).value == pytest.approx(0.5)  # one that was not measured
    unbalanced = np.concatenate([correct, correct[:, :1].repeat(50, 1), correct[:, 1:2].repeat(50, 1)], axis=1)
    assert sensitivity(unbalanced, np.append(labels, [0] * 100)).value == pytest.approx(0.5)  # classes count alike
    assert np.isnan(sensitivity(np.ones((2, 4)), labels).value)
    assert np.isnan(sensitivity(np.full((2, 4), np.nan), labels).value)
    grouped = sensitivity(correct, labels, np.array(["a", "a", "b", "b"]))
    assert grouped.n == 2 and grouped.value == pytest.approx(0.5)


def test_corruptions_are_those_of_other_libraries(pictures: Tensor) -> None:
    picture = pictures[:1]
    array = (picture[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=15)
    expected = np.asarray(Image.open(file)) / 255
    np.testing.assert_allclose(corrupted(picture, "jpeg", 15)[0].permute(1, 2, 0).numpy(), expected, atol=1e-6)
    hsv = Image.fromarray(array).convert("HSV")
    hue, saturation, value = hsv.split()
    raised = Image.merge("HSV", (hue, saturation, value.point(lambda level: min(255, level + round(0.3 * 255)))))
    found = corrupted(picture, "brightness", 0.3)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, np.asarray(raised.convert("RGB")) / 255, atol=0.03)  # Pillow's are of 8 bits
    assert corrupted(torch.zeros(1, 3, 2, 2), "brightness", 0.3).unique().tolist() == [pytest.approx(0.3)]
    blur = Image.fromarray(array).resize((24 * 14, 16 * 14), Image.Resampling.NEAREST)
    wide = as_shown(torch.from_numpy(np.asarray(blur).copy())[None])
    expected = np.asarray(blur.filter(ImageFilter.GaussianBlur(3))) / 255
    np.testing.assert_allclose(corrupted(wide, "blur", 3)[0].permute(1, 2, 0).numpy(), expected, atol=0.03)
    noisy = corrupted(torch.full((1, 3, 64, 64), 0.5), "noise", 0.08) - 0.5
    assert float(noisy.std()) == pytest.approx(0.08, rel=0.03)
    with pytest.raises(UsageError, match="unknown corruption 'fog'"):
        corrupted(picture, "fog", 1)


def test_robustness_has_every_strength(network: Network, pictures: Tensor) -> None:
    found = robustness(network, pictures, np.zeros(6, int), batch_size=4)
    assert found.variants == tuple(f"{kind} {level}" for kind in STRENGTHS for level in range(3))
    expected = shown_answers(network, corrupted(pictures, "noise", STRENGTHS["noise"][1]))
    np.testing.assert_allclose(found.of("noise 1")[1], expected[:, 0], atol=1e-6)
    chunks = [robustness(network, part, np.zeros(3, int)) for part in pictures.split(3)]
    np.testing.assert_allclose(Answers.joined(*chunks).probability, found.probability, atol=1e-6)
