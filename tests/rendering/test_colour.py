"""Colours: equal to matplotlib's own, safe on constant and broken maps, honest about what was not seen."""

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.colors import Normalize
from PIL import Image

from regard.errors import DataError, UsageError
from regard.rendering import colour

NAN = float("nan")


@pytest.mark.parametrize("name", ["viridis", "inferno", "cividis", "jet", "coolwarm"])
def test_paint_is_what_matplotlib_paints(name):
    values = np.random.default_rng(0).normal(size=(13, 7))
    theirs = matplotlib.colormaps[name](Normalize()(values), bytes=True)[..., :3]
    assert np.array_equal(colour.paint(values, name), theirs)


def test_unknown_colour_map_offers_the_nearest():
    with pytest.raises(UsageError, match="'viridis'"):
        colour.paint(np.zeros((2, 2)), "virdis")


@pytest.mark.parametrize("value", [0.0, -3.5, 1e-300, 1e300])
@pytest.mark.parametrize("signed", [False, True])
def test_a_constant_map_is_one_even_colour(value, signed):
    painted = colour.paint(np.full((4, 6), value), "viridis", signed=signed)
    assert len(np.unique(painted.reshape(-1, 3), axis=0)) == 1


def test_a_constant_map_without_sign_takes_the_middle():
    assert np.array_equal(colour.paint(np.full((2, 2), 5.0))[0, 0], colour.table("viridis")[128])


def test_signed_scale_is_symmetric_about_zero():
    assert colour.limits([-1.0, 3.0], signed=True) == (-3.0, 3.0)
    painted = colour.paint(np.array([[0.0, 3.0, -1.0]]), "coolwarm", signed=True)
    assert np.array_equal(painted[0, 0], colour.table("coolwarm")[128])
    assert painted[0, 1, 0] > painted[0, 1, 2] and painted[0, 2, 2] > painted[0, 2, 0]  # red above, blue below


def test_a_shared_scale_gives_equal_values_equal_colours():
    weak, strong = np.array([[0.0, 0.5]]), np.array([[0.5, 1.0]])
    shared = [colour.paint(each, "viridis", scale=(0, 1)) for each in (weak, strong)]
    assert np.array_equal(shared[0][0, 1], shared[1][0, 0])
    assert np.array_equal(colour.paint(weak)[0, 1], colour.paint(strong)[0, 1])  # each its own: both are the highest


@pytest.mark.parametrize("scale", [(1, 0), (NAN, 1), (0, float("inf"))])
def test_a_senseless_scale_is_refused(scale):
    with pytest.raises(UsageError, match="lower first"):
        colour.paint(np.zeros((2, 2)), scale=scale)


def test_unseen_is_grey_and_hatched_and_never_a_colour_of_the_map():
    values = np.linspace(0, 1, 40 * 60).reshape(40, 60)
    values[:, :20] = NAN
    painted = colour.paint(values, "jet")
    greys = {tuple(each) for each in painted[:, :20].reshape(-1, 3).tolist()}
    assert greys == {colour.UNSEEN, colour.STRIPE}
    assert not greys & {tuple(each) for each in colour.table("jet").tolist()}
    assert np.array_equal(painted[:, 20:], colour.paint(values[:, 20:], "jet", scale=colour.limits(values)))


def test_a_map_of_nothing_is_all_unseen():
    assert colour.limits(np.full((3, 3), NAN)) == (0.0, 0.0)
    assert (colour.paint(np.full((3, 3), NAN), hatch=False) == colour.UNSEEN).all()


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float64, (3, 5), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_any_values_have_colours_and_larger_ones_are_never_lower(values):
    scale = colour.limits(values)
    finite = values[~np.isnan(values)]
    levels = colour.levels(finite, scale)
    assert (np.diff(levels[np.argsort(finite, kind="stable")].astype(int)) >= 0).all()
    assert colour.paint(values).shape == (3, 5, 3)


def test_colours_that_nobody_asked_for():
    assert (colour.default(signed=False), colour.default(signed=True)) == ("inferno", "coolwarm")
    picture, values = Image.new("RGB", (3, 2), (120, 120, 120)), np.array([[0.0, 1.0, 0.5]] * 2)
    usual = np.asarray(colour.overlay(picture, values)).astype(float)
    assert np.abs(usual - (0.5 * colour.paint(values, "inferno") + 60)).max() <= 1
    signed = np.asarray(colour.overlay(picture, values, signed=True)).astype(float)
    assert np.abs(signed - (0.5 * colour.paint(values, "coolwarm", signed=True) + 60)).max() <= 1
    jet = np.asarray(colour.overlay(picture, values, "jet")).astype(float)  # as in Problem 1
    assert np.abs(jet - (0.4 * colour.paint(values, "jet") + 72)).max() <= 1


def test_overlay_by_hand():
    picture = Image.new("RGB", (3, 2), (200, 100, 0))
    values = np.array([[0.0, 1.0, 0.5], [0.0, 1.0, 0.5]])
    overlay = np.asarray(colour.overlay(picture, values, "jet", 0.4)).astype(float)
    grey = round(0.299 * 200 + 0.587 * 100)
    expected = 0.4 * colour.paint(values, "jet") + 0.6 * grey
    assert np.abs(overlay - expected).max() <= 1
    coloured = np.asarray(colour.overlay(picture, values, "jet", 0.0, grey=False))
    assert np.array_equal(coloured, np.asarray(picture))


def test_overlay_pales_what_was_not_seen():
    picture = Image.new("RGB", (30, 20), (10, 10, 10))
    values = np.zeros((20, 30))
    values[:, :10] = NAN
    overlay = np.asarray(colour.overlay(picture, values))
    assert overlay[:, :10].mean() > 130 and (overlay[:, :10].std(axis=-1) == 0).all()


def test_overlay_refuses_what_does_not_fit():
    with pytest.raises(DataError, match="20 × 30"):
        colour.overlay(Image.new("RGB", (20, 30)), np.zeros((20, 30)))
    with pytest.raises(UsageError, match="alpha"):
        colour.overlay(Image.new("RGB", (30, 20)), np.zeros((20, 30)), alpha=40)
