"""Figures of maps and charts: right pixels in the right place, non-square pictures, any name, bytes without a past."""

import io
import time

import numpy as np
import pytest
from PIL import Image

from regard.errors import DataError, UsageError
from regard.records import ClassScores, Explanation, Heatmap, PatchGrid, Positions, ReliabilityBin, Score
from regard.rendering import colour, lettering
from regard.rendering.figures import canvas, charts, sheets, vector
from regard.rendering.figures import panel as panels
from regard.rendering.figures import position_grids as grids

HOSTILE = (
    "<script>alert(1)</script>",
    "a$b$c",
    "$\\frac{",
    "x" * 300,
    "\u202egnp.exe",
    "line\nbreak",
    "\udce9t\udce9",
    "猫",
)


def heatmap(height=60, width=90, rows=4, columns=6, box=None, name="a.jpg", seed=0):
    grid = PatchGrid(rows, columns, 1, (height, width), box or (0.0, 0.0, float(width), float(height)))
    return Heatmap(np.random.default_rng(seed).random((rows, columns), np.float32), grid, name)


def picture(height=60, width=90):
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8))


def tiles(figure, count=3, tile=canvas.TILE):
    """The pixels of the three tiles of a panel of a picture wider than high."""
    starts = [canvas.MARGIN + place * (tile + canvas.GAP) for place in range(count)]
    return [np.asarray(figure)[canvas.MARGIN + 22 :, start : start + tile] for start in starts]


def test_panel_is_picture_map_and_jet_at_forty_percent_on_grey():
    image, one = picture(), heatmap()
    first, second, third = (each[:280] for each in tiles(panels.panel(image, one, colours="jet")))
    large = image.resize((420, 280), Image.Resampling.LANCZOS)
    painted = colour.paint(one.upsampled((280, 420)), "jet", scale=colour.limits(one.values))
    assert np.abs(first.astype(int) - np.asarray(large)).max() <= 1
    assert np.array_equal(second, painted)
    expected = 0.4 * painted + 0.6 * np.asarray(large.convert("L"))[..., None]
    assert np.abs(third - expected).max() <= 1.5


def test_panel_keeps_the_aspect_of_wide_and_high_pictures():
    wide = panels.panel(picture(40, 120), heatmap(40, 120))
    high = panels.panel(picture(120, 40), heatmap(120, 40))
    assert wide.width > 2 * wide.height and high.height > high.width
    panels.panel(picture(2, 900), heatmap(2, 900), caption="very wide")  # a strip is no reason to fail
    panels.panel(picture(900, 2), heatmap(900, 2), caption="very high " * 50)


def test_panel_hatches_what_the_network_did_not_see():
    one = heatmap(60, 90, box=(15.0, 0.0, 75.0, 60.0))
    _, second, third = tiles(panels.panel(picture(), one))
    assert {tuple(each) for each in second[:280, :69].reshape(-1, 3).tolist()} == {colour.UNSEEN, colour.STRIPE}
    assert (third[:280, :69].std(axis=-1) == 0).all() and not (third[:280, 75:340].std(axis=-1) == 0).all()


def test_panel_hatches_patches_without_a_value_and_those_alone():
    one = heatmap(60, 90)
    one.values[1, 2] = np.nan  # of 4 × 6 patches of 70 × 70 pixels each
    _, second, _ = tiles(panels.panel(picture(), one))
    greys = {colour.UNSEEN, colour.STRIPE}
    assert {tuple(each) for each in second[90:120, 160:190].reshape(-1, 3).tolist()} == greys
    assert not greys & {tuple(each) for each in second[:280, :100].reshape(-1, 3).tolist()}
    assert not greys & {tuple(each) for each in second[160:280, :420].reshape(-1, 3).tolist()}


def test_panel_of_a_map_with_a_sign_is_neutral_at_zero():
    grid = PatchGrid.whole(1, 3, picture=(30, 90))
    figure = panels.tiles_of(picture(30, 90), Heatmap(np.array([[-1.0, 0, 3]], np.float32), grid, "a"), signed=True)
    assert (figure.colours, figure.scale) == ("coolwarm", (-3.0, 3.0))
    middle = np.asarray(figure.images[1])[70, 210]
    assert np.ptp(middle.astype(int)) <= 4  # grey


def test_panel_refuses_the_map_of_another_picture_but_takes_a_thumbnail():
    with pytest.raises(DataError, match="60 × 90"):
        panels.panel(picture(90, 60), heatmap(60, 90))
    panels.panel(picture(20, 30), heatmap(60, 90))
    panels.panel(picture(33, 50), heatmap(1000, 1499))  # rounding of a thumbnail's size


@pytest.mark.parametrize(
    ("value", "words"), [(0.0, "everywhere 0"), (1.5, "everywhere 1.5"), (np.nan, "no values"), (np.inf, "no values")]
)
def test_panel_of_constant_and_unseen_maps(value, words):
    grid = PatchGrid(2, 3, 0, (60, 90), (0.0, 0.0, 90.0, 60.0))
    one = Heatmap(np.full((2, 3), value, np.float32), grid, "a")
    for signed in (False, True):
        figure = panels.tiles_of(picture(), one, signed=signed)
        ramp, (low, _) = canvas.level_bar(10, figure.colours, figure.scale)
        extent = signed and value == 1.5  # from -1.5 to 1.5
        assert (ramp == ramp[0, 0]).all() != extent
        assert low == words or extent
        assert ("no value" in figure.note) == (words == "no values")
        panels.panel(picture(), one, signed=signed)


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_can_be_drawn(name):
    panels.panel(picture(), heatmap(name=name), caption=name)
    sheets.contact_sheet([(picture(), heatmap(), name)])
    charts.chart_svg(charts.confusion_chart(np.eye(2, dtype=np.int64), (name, "other"))).decode()


def test_panels_are_quick():
    image, one = picture(400, 600), heatmap(400, 600, 14, 14)
    panels.panel(image, one)
    spent = []
    for _ in range(5):
        start = time.perf_counter()
        panels.panel(image, one, caption="network n · method attention · layer 11")
        spent.append(time.perf_counter() - start)
    assert min(spent) < 0.15  # about 0.02 on an idle core


def test_caption_says_what_made_the_map():
    explained = Explanation(
        (Heatmap(np.zeros((2, 2), np.float32), PatchGrid.whole(2, 2), "a", 1),),
        "attention",
        settings={"layer": 11, "head": "mean", "target": None},
        provenance={"network": "vit"},
    )
    assert panels.caption_of(explained, 0, ("cat", "dog")) == (
        "network vit · method attention · layer 11 · head mean · target dog"
    )


@pytest.mark.parametrize(
    ("target", "settings", "words"),
    [
        (1, {"target": "predicted"}, "target dog (predicted)"),
        (1, {"target": "dog"}, "target dog"),
        ((0, 1), {"target": ["cat", "dog"]}, "target cat against dog"),
        (7, {}, "target 7"),
        (None, {"query": [3, 7], "target": None}, "query 3,7"),
    ],
)
def test_caption_names_the_target(target, settings, words):
    one = Heatmap(np.zeros((2, 2), np.float32), PatchGrid.whole(2, 2), "a", target)
    explained = Explanation((one,), "gradcam", settings=settings, classes=("cat", "dog"))
    assert panels.caption_of(explained, 0) == f"method gradcam · {words}"


@pytest.mark.parametrize(
    ("kind", "name"), [*(("svg", name) for name in HOSTILE), *(("pdf", name) for name in HOSTILE[1:6:2])]
)
def test_papers_take_any_name_and_are_the_same_twice(kind, name):
    one, other = (vector.panel_bytes(kind, picture(), heatmap(name=name), caption=name) for _ in range(2))
    assert one == other
    for secret in (b"CreationDate", b"dc:date", b"Producer", b"<script>"):
        assert secret not in one


def test_papers_keep_texts_as_texts_and_the_aspect():
    text = vector.panel_bytes("svg", picture(), heatmap(), caption="network n · layer 3").decode()
    assert ">network n · layer 3</text>" in text and ">a.jpg</text>" in text and ">overlay</text>" in text
    wide, high = (vector.panel_bytes("svg", picture(*size), heatmap(*size)).decode() for size in ((20, 120), (120, 20)))
    assert float(wide.split('height="')[1].split("pt")[0]) < 100 < float(high.split('height="')[1].split("pt")[0]) < 450
    with pytest.raises(UsageError, match="jpg, pdf, png, svg"):
        vector.panel_bytes("gif", picture(), heatmap())


def test_contact_sheet_has_a_place_for_each():
    figure = sheets.contact_sheet([(picture(), heatmap(), str(place)) for place in range(7)], columns=3, tile=120)
    assert figure.width == 2 * canvas.MARGIN + 3 * 120 + 2 * canvas.GAP
    assert figure.height > 3 * 80
    with pytest.raises(UsageError, match="at least one"):
        sheets.contact_sheet([])


def test_notebook_display_of_an_explanation():
    explained = Explanation(tuple(heatmap(name=f"{place}.jpg") for place in range(15)), "attention")
    assert Image.open(io.BytesIO(explained._repr_png_())).width > 300
    assert sheets.explanation_png(Explanation((), "attention"))


def similar(rows, columns):
    values = np.random.default_rng(2).random((rows, columns, rows, columns)).astype(np.float32)
    return Positions(values, {})


def test_mosaic_by_hand():
    index = np.arange(1 * 2 * 2 * 3, dtype=np.uint8).reshape(1, 2, 2, 3)  # two tiles of 2 × 3 side by side
    assert grids.mosaic(index, gap=1, fill=99).tolist() == [[0, 1, 2, 99, 6, 7, 8], [3, 4, 5, 99, 9, 10, 11]]


@pytest.mark.parametrize(("rows", "columns"), [(3, 5), (5, 3), (1, 4)])
def test_positions_tile_shows_its_own_position(rows, columns):
    values = np.zeros((rows, columns, rows, columns), np.float32)
    for row in range(rows):
        for column in range(columns):
            values[row, column, row, column] = 1
    painted, ends = grids.positions_array(Positions(values, {}))
    assert ends == (0.0, 1.0)
    high = (painted == colour.table("viridis")[255]).all(axis=-1)
    assert np.array_equal(high, values == 1)
    grids.positions_figure(Positions(values, {}))


def test_positions_scale_shared_or_each():
    positions = similar(2, 3)
    positions.similarity[0, 0] *= 0.1
    shared, _ = grids.positions_array(positions)
    each, ends = grids.positions_array(positions, scale="each")
    top = colour.table("viridis")[255]
    assert not (shared[0, 0] == top).all(axis=-1).any()
    assert ends is None and (each == top).all(axis=-1).sum() == 6
    with pytest.raises(UsageError, match="shared"):
        grids.positions_array(positions, scale="share")


def test_positions_of_24_by_24_are_quick_and_crisp():
    positions = similar(24, 24)
    start = time.perf_counter()
    figure = grids.positions_figure(positions)
    assert time.perf_counter() - start < 2
    painted, _ = grids.positions_array(positions)
    pixels = np.asarray(figure)
    left, top = canvas.MARGIN + 44, canvas.MARGIN + 62
    assert np.array_equal(pixels[top : top + 48 : 2, left : left + 48 : 2], painted[0, 0])  # two pixels a value
    assert np.array_equal(pixels[top + 1 : top + 48 : 2, left + 1 : left + 48 : 2], painted[0, 0])


def test_png_forgets_where_pixels_came_from():
    image = picture()
    image.info |= {"comment": b"at home", "icc_profile": b"profile", "exif": b"Exif\0\0secret"}
    read = Image.open(io.BytesIO(canvas.png(image)))
    assert not read.info and np.array_equal(np.asarray(read), np.asarray(image))


@pytest.mark.parametrize("count", [1, 2, 3, 37])
def test_confusion_chart_grows_with_its_classes(count):
    matrix = np.random.default_rng(0).poisson(1, (count, count))
    figure = charts.confusion_chart(matrix, [f"a rather long class name {place}" for place in range(count)])
    labels = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(map(int, labels)) == sorted(matrix[matrix > 0].tolist())
    size = Image.open(io.BytesIO(charts.chart_png(figure, dpi=50))).size
    assert min(size) > 50 * 0.25 * count


def test_svg_of_equal_charts_is_equal_and_undated():
    one, other = (charts.chart_svg(charts.confusion_chart(np.eye(3, dtype=np.int64), "abc")) for _ in range(2))
    assert one == other and b"<dc:date>" not in one and b"<svg" in one


def test_confusion_chart_refuses_another_number_of_classes():
    with pytest.raises(DataError, match=r"\(2, 3\)"):
        charts.confusion_chart(np.zeros((2, 3), np.int64), ("a", "b"))


def test_reliability_chart_shows_both_gaps_and_skips_empty_bins():
    nan = float("nan")
    bins = (
        ReliabilityBin(0, 0.5, 4, 0.4, 0.6),
        ReliabilityBin(0.5, 0.9, 0, nan, nan),
        ReliabilityBin(0.9, 1, 9, 0.95, 0.5),
    )
    figure = charts.reliability_chart(bins, Score(0.3, 0.2, 0.4, 13))
    heights = sorted(round(bar.get_height(), 2) for bar in figure.axes[0].patches)
    assert heights == [0, 0, 0.2, 0.4, 0.45, 0.5]
    assert "0.300" in figure.axes[0].get_title(loc="left")
    charts.chart_png(charts.reliability_chart(()), dpi=40)


def test_classes_chart_puts_the_best_on_top_and_bears_undefined_ones():
    nan = float("nan")
    whole = Score(1.0, 0.3, 1.0, 2)

    def of(name, recall):
        return ClassScores(name, 2, whole, recall, 1.0, nan, 0.5, whole, whole)

    figure = charts.classes_chart(
        [of("none", Score(nan, nan, nan, 0)), of("best", whole), of("mid", Score(0.5, 0.1, 0.9, 2))]
    )
    names = [label.get_text().split()[0] for label in figure.axes[0].get_yticklabels()]
    assert names == ["none", "mid", "best"]
    charts.chart_png(figure, dpi=40)


def test_text_is_cut_in_the_middle_and_wrapped_to_its_width():
    letters = lettering.font(13)
    cut = lettering.shorten("beginning " * 20 + "end", letters, 150)
    assert letters.getlength(cut) <= 150 and cut.startswith("begin") and cut.endswith("end") and "…" in cut
    lines = lettering.wrap("one two three four five six seven eight nine ten", letters, 90, lines=3)
    assert len(lines) == 3 and all(letters.getlength(line) <= 90 for line in lines)
    assert lettering.wrap("", letters, 90) == []


def test_characters_that_act_unseen_are_made_visible():
    assert lettering.visible("a\u202eb\udcffc\x00") == "a<U+202E>b�c<U+0000>"
    assert lettering.visible("Küvasz 猫 قط") == "Küvasz 猫 قط"


def trained(count):
    return [
        {
            "phase": "train",
            "epoch": each,
            "training_loss": 2 - each / count,
            "validation_loss": None if each == 1 else 1.5,
            "training_top1": 0.2,
            "validation_top1": "<b>" if each == 2 else 0.25,
        }
        for each in range(count)
    ]


def test_learning_chart_has_a_panel_for_each_thing_there_is():
    trials = [{"phase": "head", "strength": s, "log_loss": loss, "accuracy": 0.5} for s, loss in ((1, 0.5), (0.1, 0.4))]
    loss, accuracy, head = charts.learning_chart([*trials, *trained(4)], best=3).axes
    training, validation, marked = loss.lines
    assert training.get_ydata().tolist() == [2.0, 1.75, 1.5, 1.25] and marked.get_xdata()[0] == 3
    assert np.isnan(validation.get_ydata()).tolist() == [False, True, False, False]
    assert np.isnan(accuracy.lines[1].get_ydata()).tolist() == [False, False, True, False]
    assert head.get_xscale() == "log" and head.lines[1].get_xydata().tolist() == [[0.1, 0.4]]
    assert len(charts.learning_chart(trials).axes) == 1 and len(charts.learning_chart(trained(3)).axes) == 2


@pytest.mark.parametrize("count", [1, 300])
def test_learning_chart_of_one_epoch_and_of_hundreds(count):
    figure = charts.learning_chart(trained(count))
    assert Image.open(io.BytesIO(charts.chart_png(figure, dpi=40))).size == (336, 128)
    low, high = figure.axes[0].get_xlim()
    assert low < 0 and high > count - 1
    with pytest.raises(DataError, match=r"no epoch and no trial.*metrics\.jsonl"):
        charts.learning_chart([{"phase": "result", "validation_top1": 0.5}])
