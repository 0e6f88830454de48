"""The pages: everything escaped, nothing fetched, nothing private on a page that says so, and working in a browser."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from browser import open_page
from markup import Reader, check_safe
from markupsafe import Markup
from PIL import Image
from playwright.sync_api import expect

from regard.records import (
    ClassScores,
    Evaluation,
    Heatmap,
    PatchGrid,
    Positions,
    Predictions,
    ReliabilityBin,
    Score,
    SliceScore,
)
from regard.rendering import curves
from regard.rendering.pages import training, views
from regard.rendering.pages.anonymiser import LEFT_OUT, PATH, Anonymiser
from regard.rendering.pages.report import Report, report
from regard.rendering.pages.shell import policy, shell

NAN = float("nan")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</script><script>alert(3)</script>",
    "' onmouseover='alert(4)' x='",
    "a & b &amp; c",
    "\u202egnp.\u2067exe\u200f",
    "{{ 7 * 7 }}{% raw %}",
    "]]><!-- \udcff \x00 \u2028",
    "javascript:alert(5)",
)


def decoded(address):
    return base64.b64decode(address.partition(",")[2])


def share(value):
    return Score(value, max(0.0, value - 0.1), min(1.0, value + 0.1), 10)


def photograph(seed, height=60, width=90):
    rows = np.linspace(0, 200, height)[:, None, None] + np.linspace(0, 50, width)[None, :, None] * (1 + seed % 3)
    return Image.fromarray(np.broadcast_to(np.clip(rows, 0, 255), (height, width, 3)).astype(np.uint8))


def evaluated(classes=("cat", "dog"), names=None, per_class=2, note=""):
    count = len(classes)
    labels = np.repeat(np.arange(count), per_class)
    predicted = labels.copy()
    predicted[::per_class] = (predicted[::per_class] + 1) % count
    names = names or [f"{classes[label]}_{100 + place}.jpg" for place, label in enumerate(labels)]
    chances = np.full((len(labels), count), 0.2 / count, np.float32)
    chances[np.arange(len(labels)), predicted] += 0.8
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    wrong = tuple(np.flatnonzero(predicted != labels).tolist())
    per = tuple(
        ClassScores(
            name, per_class, share(0.7), share(place / count), 0.5, NAN if place else 0.9, 0.5, share(0.5), share(0.9)
        )
        for place, name in enumerate(classes)
    )
    return Evaluation(
        Predictions(tuple(names), tuple(classes), predicted, labels, chances, slices={"place": labels.astype(str)}),
        {"top1": Score((predicted == labels).mean(), 0.41, 0.59, len(labels)), "nll": Score(1.5, NAN, NAN, 4)},
        per,
        confusion,
        (ReliabilityBin(0.0, 0.5, 0, NAN, NAN), ReliabilityBin(0.5, 1.0, len(labels), 0.8, 0.5)),
        (SliceScore("place", classes[0], share(0.4)), SliceScore("place", classes[1], Score(NAN, NAN, NAN, 0))),
        wrong,
        tuple(range(min(4, len(labels)))),
        wrong[:1],
        note,
    )


def mapped(name, height=60, width=90, box=None):
    grid = PatchGrid(4, 6, 1, (height, width), box or (0.0, 0.0, float(width), float(height)))
    return Heatmap(np.random.default_rng(0).random((4, 6), np.float32), grid, name)


def content(classes=("cat", "dog"), names=None, **options):
    evaluation = evaluated(
        classes, names, **({"per_class": options.pop("per_class")} if "per_class" in options else {})
    )
    names = evaluation.predictions.names
    similarity = np.random.default_rng(1).random((3, 4, 3, 4)).astype(np.float32)
    return Report(
        **{
            "title": "Cats and dogs",
            "evaluation": evaluation,
            "facts": {"network": "vit_tiny"},
            "messages": (f"{names[0]} and {names[1]} are near duplicates",),
            "pictures": {name: photograph(place) for place, name in enumerate(names)},
            "heatmaps": {name: mapped(name, box=(15.0, 0.0, 75.0, 60.0)) for name in names[::2]},
            "positions": Positions(similarity, {"near": 0.6}),
            "examples": ((names[0], photograph(5), mapped(names[0]), f"what it saw in {names[0]}"),),
            "recipe": {"epochs": 3, "augment": {"flip": True}},
            "history": history(),
            "provenance": {"regard": "0.1.0"},
            **options,
        }
    )


def epochs(count, **columns):
    """Lines of a training as the loop writes them; `columns` are lists in the place of the falling and rising ones."""
    usual = {
        "training_loss": [2.0 - place / count for place in range(count)],
        "training_top1": [0.2 + 0.5 * place / count for place in range(count)],
        "validation_loss": [1.5 - place / count for place in range(count)],
        "validation_top1": [0.3 + 0.5 * place / count for place in range(count)],
    }
    rows = [{"phase": "train", "epoch": place, "steps": 5 * place, "learning_rate": 1e-3} for place in range(count)]
    for name, values in {**usual, **columns}.items():
        for row, value in zip(rows, values, strict=False):
            row[name] = value
    return rows


def searched(settings, log_loss, accuracy=0.5):
    return {"phase": "search", "settings": settings, "log_loss": log_loss, "accuracy": accuracy}


def history(count=3):
    trials = [
        {"phase": "head", "strength": strength, "log_loss": loss, "accuracy": 0.8}
        for strength, loss in ((0.1, 0.9), (10.0, 0.7), (1.0, 0.5))
    ]
    inner = [{"phase": "search 0/1", "epoch": 0, "training_loss": 77.0, "training_top1": 0.0}]
    candidates = [searched({"epochs": 12, "open_layers": layers}, loss) for layers, loss in ((2, 0.45), (None, 0.4))]
    return (*trials, *inner, *candidates, *epochs(count), {"phase": "result", "validation_top1": 0.8})


def hostile_content(**options):
    classes = tuple(f"{mark} {place}" for place, mark in enumerate(HOSTILE))
    names = tuple(f"{mark} {place}.jpg" for place, mark in enumerate(HOSTILE * 2))
    marks = {mark: mark for mark in HOSTILE}
    return content(
        classes,
        names,
        title=" ".join(HOSTILE),
        facts=marks,
        messages=HOSTILE,
        recipe=marks,
        history=[
            searched({**marks, "same": HOSTILE[0], mark: place}, mark if place else 0.5)
            for place, mark in enumerate(HOSTILE)
        ]
        + [dict.fromkeys((*marks, "phase", "epoch", "strength", "training_loss"), mark) for mark in HOSTILE]
        + [{"phase": "head", "strength": HOSTILE[0], "log_loss": HOSTILE[1]}, *epochs(3, validation_loss=HOSTILE)],
        provenance=marks,
        **options,
    )


def test_summary_is_one_honest_sentence():
    evaluation = evaluated(("cat", "dog"), per_class=4)
    assert views.summary(evaluation) == "Right on 6 of 8 pictures: 0.750, 95 % interval 0.41 to 0.59."
    unlabelled = replace(evaluation.predictions, labels=np.array([-1, -1, 0, 0, 1, 1, 1, -1]))
    assert "of 5 pictures" in views.summary(replace(evaluation, predictions=unlabelled))


def test_page_shows_all_that_is_there_and_nothing_of_what_is_not():
    reader = check_safe(report(content(per_class=3)))
    for text in (
        "Right on 4 of 6 pictures: 0.667",
        "vit_tiny",
        "near duplicates",
        "cat_100.jpg",
        "Few pictures per class",
    ):
        assert text in reader.text
    sections = {attrs["id"] for tag, attrs in reader.elements if tag == "section"}
    links = {attrs["href"][1:] for tag, attrs in reader.elements if tag == "a"} - {"content"}
    assert sections == links and len(sections) == 12
    empty = check_safe(report(Report("Only a title")))
    assert not [tag for tag, _ in empty.elements if tag in ("section", "table", "img")]


def test_notes_are_said_in_words():
    reader = check_safe(report(Report("t", evaluated(note="seen in training"))))
    assert "says nothing about new ones" in reader.text
    assert "selected on" in check_safe(report(Report("t", evaluated(note="selected on")))).text.lower()


def test_undefined_numbers_are_dashes():
    reader = check_safe(report(content()))
    assert "nan" not in re.sub(r"[A-Za-z]nan|nan[A-Za-z]", "", reader.text.lower()) and "–" in reader.text
    assert json.loads(reader.scripts[0])["nll"] == {"value": 1.5, "low": None, "high": None}


def test_hostile_names_stay_text():
    reader = check_safe(report(hostile_content()))
    for mark in HOSTILE[:5]:
        assert mark in reader.text
        assert any(mark in (attrs.get("title") or "") for _, attrs in reader.elements)
        assert any(mark in (attrs.get("alt") or "") for tag, attrs in reader.elements if tag == "img")
    assert "{{ 7 * 7 }}" in reader.text and "49" not in reader.text.replace("0.49", "")
    assert json.loads(reader.scripts[0])["classes"][0].startswith("<script>")
    assert "<U+202E>" in reader.text


def test_shell_escapes_a_body_that_no_template_made():
    text = shell("<b>&", "<script>alert(1)</script>", data={"</script>": ["<!--", "\u2028"]})
    reader = check_safe(text)
    assert "<script>alert(1)</script>" in reader.text and json.loads(reader.scripts[0])
    assert check_safe(shell("t", Markup("<p>made</p>"))).elements.count(("p", {})) == 1


def test_policy_forbids_all_requests():
    reader = Reader(report(content()))
    (rules,) = [attrs["content"] for tag, attrs in reader.elements if attrs.get("http-equiv")]
    assert rules == policy(reader.scripts[-1]) and rules.startswith("default-src 'none'; img-src data: blob:; ")
    assert re.search(r"script-src 'sha256-[\w+/]{43}='$", rules)


def test_a_page_without_pictures_has_none():
    reader = check_safe(report(content(show_pictures=False)))
    images = reader.images()
    assert not [image for image in images if image.startswith("data:image/jpeg")]
    assert len(images) == 2  # the similarity of positions and its colour bar
    assert "cat_100.jpg" in reader.text and "what it saw" not in reader.text


def private_content(**options):
    names = ("anna/IMG_0001.jpg", "anna/IMG_0002.jpg", "bert schmidt (left).png", "C\u00e9line_04.jpeg")
    return content(
        ("cat", "dog"),
        names,
        title="Run on anna/IMG_0001",
        facts={"data": "/home/anna/my pictures/pets", "first": "img_0002.jpg", "share": "3/4", "source": "pets"},
        messages=(
            "cannot read '/home/anna/my pictures/IMG_0001.jpg': truncated",
            "Céline_04 is a near duplicate of bert schmidt (left).png; cat has 1 picture",
            "see C:\\Users\\anna\\pets or ~/pets or ../shared/anna, then 2 of 4",
        ),
        provenance={"command": "regard train pets --out anna", "nested": {"weights": "/srv/anna/w.safetensors"}},
        anonymise=True,
        **options,
    )


def test_an_anonymous_page_holds_no_name_and_no_path():
    text = report(private_content())
    reader = check_safe(text)
    plain = re.sub(r"data:image/[^\"]+", "", text)
    for secret in (
        "anna",
        "IMG_",
        "img_0",
        "bert",
        "schmidt",
        "line_04",
        "/home",
        "/srv",
        "Users",
        "safetensors",
        "~/",
    ):
        assert secret.lower() not in plain.lower(), secret
    assert "picture-0001" in reader.text and "picture-0004" in reader.text
    assert "cat has 1 picture" in reader.text and "3/4" in reader.text and "2 of 4" in reader.text
    assert reader.images()


def test_anonymiser_keeps_class_names_numbers_and_order():
    hide = Anonymiser(["b.jpg", "cat", "7", "sub/0815.png"], keep=["cat"])
    assert hide.text("b.jpg, B.JPG and bb.jpg, b") == "picture-0001, picture-0001 and bb.jpg, b"
    assert hide.text("class cat, 7 pictures, 0815") == "class cat, 7 pictures, picture-0004"
    assert hide.name("cat") == "picture-0002" and hide.name("stranger") == LEFT_OUT
    assert hide.text("in /a/b c/sub/0815.png: broken") == "in picture-0004: broken"
    assert hide.text("/a/b c: broken") == f"{PATH}: broken"
    assert hide.anything([1, None, True, {"host": "mine", "x": 2.5}]) == [1, None, True, {"host": LEFT_OUT, "x": 2.5}]


def test_embedded_pictures_carry_pixels_alone():
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    file = io.BytesIO()
    photograph(0).save(file, "JPEG", exif=exif, comment=b"secret comment", icc_profile=b"secret profile")
    tagged = Image.open(io.BytesIO(file.getvalue()))
    assert b"home" in file.getvalue() and b"secret comment" in file.getvalue()
    names = evaluated().predictions.names
    page_content = content(pictures=dict.fromkeys(names, tagged), examples=(("e", tagged, None, ""),))
    images = [decoded(image) for image in Reader(report(page_content)).images() if len(image) > 10]
    assert len(images) > 5
    for image in images:
        assert not [mark for mark in (b"Exif", b"secret", b"home", b"ICC_PROFILE", b"iTXt", b"tEXt") if mark in image]
        assert set(Image.open(io.BytesIO(image)).info) <= {
            "jfif", "jfif_version", "jfif_unit", "jfif_density", "progressive", "progression", "transparency",
        }  # fmt: skip


def test_size_of_a_usual_page():
    rng = np.random.default_rng(0)
    classes = tuple(f"American Staffordshire Terrier {place}" for place in range(37))
    page_content = content(classes, per_class=2)
    coarse = {
        name: Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).resize((800, 600), Image.Resampling.BICUBIC)
        for name in page_content.pictures
    }
    maps = {name: mapped(name, 600, 800) for name in coarse}
    assert len(coarse) == 74
    assert len(report(replace(page_content, pictures=coarse, heatmaps=maps)).encode()) < 2_000_000


def test_matrix_of_very_many_classes_shows_those_with_errors():
    evaluation = evaluated(tuple(map(str, range(100))), per_class=1)
    matrix = views.confusion(evaluation)
    assert len(matrix["rows"]) == len(matrix["columns"]) == views.CLASSES and matrix["of"] == 100
    assert "60 classes with the most errors of 100" in Reader(report(Report("t", evaluation))).text


def test_map_lies_where_the_network_looked():
    framed = views.frame(photograph(0), mapped("a", box=(15.0, 6.0, 75.0, 54.0)), "jet")
    assert framed["box"] == pytest.approx((1 / 6, 0.1, 2 / 3, 0.8)) and framed["partial"]
    assert not views.frame(photograph(0), mapped("a"), "jet")["partial"]
    pixels = Image.open(io.BytesIO(decoded(framed["map"]))).convert("RGB")
    assert pixels.size == (48, 32)


def test_what_people_want_to_see_comes_first():
    reader = check_safe(report(content()))
    order = [attrs["id"] for tag, attrs in reader.elements if tag == "section"]
    assert order[:3] == ["scores", "examples", "confusion"]
    assert order[-3:] == ["training", "positions", "provenance"]
    links = [attrs["href"][1:] for tag, attrs in reader.elements if tag == "a"]
    assert links[1:] == order  # after "Skip to the content"


def section_of(rows, recipe=()):
    """The section's content, and the places of each line's points by panel and kind."""
    section = training.section(rows, dict(recipe))
    panels = [*section["panels"], *([section["trials"]] if section["trials"] else [])]
    return section, [{line["kind"]: line["path"] for line in panel["lines"]} for panel in panels]


def test_curves_lie_where_the_numbers_say():
    rows = epochs(3, training_loss=[2.0, 1.0, 0.5], validation_loss=[1.5, 1.0, 0.0])
    section, (loss, _) = section_of(rows)
    assert section["panels"][0]["ends"] == (0.0, 2.0)  # so 190 units are 2 nats, and epochs are 162 apart
    assert loss == {"training": "M8.0 0.0L170.0 95.0L332.0 142.5", "validation": "M8.0 47.5L170.0 95.0L332.0 190.0"}
    assert section["panels"][0]["columns"] == [(8.0, "0"), (170.0, "1"), (332.0, "2")]
    assert [hit["text"] for hit in section["panels"][0]["hits"]][2] == (
        "epoch 2: training loss 0.5000, validation loss 0.000"
    )


def test_only_the_training_itself_is_drawn_and_the_later_of_two_lines_for_an_epoch():
    lines = curves.curves([*history(3), {"phase": "train", "epoch": 1, "training_loss": 0.25}])
    assert lines.epochs.tolist() == [0, 1, 2] and lines.training_loss[1] == 0.25
    assert np.isnan(lines.validation_loss[1]) and lines.training_loss.max() < 77


def test_what_is_no_number_is_a_gap_and_a_point_alone_a_dot():
    rows = epochs(6, validation_loss=[1.0, None, 1.0, NAN, "1.0", 1.0], training_loss=[True, 1.0, 1.0, 1.0, 10**400, 1])
    _, (loss, _) = section_of(rows)
    assert loss["validation"].count("M") == loss["validation"].count("h0") == 3 and "L" not in loss["validation"]
    assert loss["training"].count("M") == 2 and loss["training"].count("L") == 2 and loss["training"].endswith("h0")
    reader = check_safe(report(content(history=rows)))
    titles = [text for text in reader.texts if text.startswith("epoch 3: training loss")]
    assert titles == ["epoch 3: training loss 1.000, validation loss –"]
    assert not [attrs for tag, attrs in reader.elements if tag == "path" and "nan" in attrs["d"].lower()]


@pytest.mark.parametrize(
    ("recipe", "scores", "kept"),
    [
        ({"keep": "best"}, [0.5, 0.9, 0.9, 0.8], 2),  # of equals the later
        ({"keep": "best"}, [0.5, 0.9, NAN, None], 1),
        ({"keep": "best"}, [None] * 4, None),
        ({"keep": "last"}, [0.5, 0.9, 0.9, 0.8], None),
    ],
)
def test_the_kept_epoch_is_marked_where_one_is_kept(recipe, scores, kept):
    section, _ = section_of(epochs(4, validation_top1=scores), recipe)
    marks = [panel["mark"] and panel["mark"]["text"] for panel in section["panels"]]
    assert marks == [None if kept is None else f"kept: {kept}"] * 2
    text = check_safe(report(content(history=epochs(4, validation_top1=scores), recipe=recipe))).text
    assert (f"Epoch {kept} is kept" in text) == (kept is not None) == ("is kept, the best" in text)


def test_training_without_validation_says_nothing_of_it():
    rows = epochs(3, validation_loss=[None] * 3, validation_top1=[None] * 3)
    section, panels = section_of(rows, {"keep": "best"})
    assert section["kinds"] == ["training"] and all(set(panel) == {"training"} for panel in panels)
    page = check_safe(report(content(history=rows))).text
    assert "training: the mean over the epoch" in page and "validation: the pictures set aside" not in page


def test_one_epoch_lies_in_the_middle():
    section, (loss, _) = section_of(epochs(1, validation_loss=[0.0], training_loss=[0.0]))
    assert loss["training"].startswith("M170.0 190.0") and loss["training"].endswith("h0")
    assert section["panels"][0]["columns"] == [(170.0, "0")]
    assert [row[1] for row in section["panels"][0]["rows"]] == ["0", "0.002", "0.004", "0.006", "0.008", "0.01"]


def test_hundreds_of_epochs_stay_legible_and_small():
    section, (loss, _) = section_of(epochs(1000))
    panel = section["panels"][0]
    assert loss["training"].count("L") == 999 and not panel["lines"][0]["dots"]
    assert len(panel["columns"]) <= 9 and len(panel["hits"]) <= training.HITS
    assert panel["hits"][-1]["text"].startswith("epoch 999:")
    assert sum(hit["width"] for hit in panel["hits"]) == pytest.approx(training.WIDE)
    assert len(report(Report("t", history=epochs(1000)))) < 500_000


@pytest.mark.parametrize(
    ("values", "share", "ends"),
    [
        ([0.3, 1.9], False, (0.0, 2.0)),
        ([1.9, 2.1], False, (1.9, 2.1)),
        ([0.97, 1.0], True, (0.97, 1.0)),
        ([1.0, 1.0], True, (0.9, 1.0)),
        ([0.0, 0.0], True, (0.0, 0.01)),
        ([5.0], False, (4.4, 5.6)),
        ([-1.0, 1.0], False, (-1.0, 1.0)),
    ],
)
def test_axes_end_at_round_numbers(values, share, ends):
    assert curves.limits([np.array([*values, NAN])], share) == pytest.approx(ends)


def test_trials_stand_on_a_logarithmic_axis_with_the_best_marked():
    section, panels = section_of(history())
    trials = section["trials"]
    assert trials["columns"] == [(8.0, "0.1"), (170.0, "1"), (332.0, "10")]
    assert trials["mark"]["text"] == "chosen: 1" and trials["mark"]["x"] == 170
    assert panels[-1]["validation"].startswith("M8.0 ") and "L170.0 " in panels[-1]["validation"]
    assert trials["text"] == "strength 1: log-loss 0.5000, accuracy 0.800"
    ties = [{"phase": "cross-validation", "strength": each, "log_loss": 0.5, "accuracy": None} for each in (3.0, 2.0)]
    assert curves.trials([*ties, {"phase": "head", "strength": 0.0, "log_loss": 0.1}]).chosen == 0
    assert training.section(ties, {})["trials"]["mark"]["text"] == "chosen: 2"


def test_candidates_are_listed_best_first_by_what_differs():
    rows = [searched({"epochs": 12, "open_layers": each, "mix": 0.5}, loss) for each, loss in ((2, NAN), (None, 0.4))]
    listed = training.candidates(rows)
    assert listed["names"] == ["Open layers"] and listed["common"] == [("epochs", "12"), ("mix", "0.5")]
    assert [row["cells"] for row in listed["rows"]] == [["all"], ["2"]]
    assert [row["chosen"] for row in listed["rows"]] == [True, False]
    assert [row["log_loss"]["text"] for row in listed["rows"]] == ["0.4000", "–"]
    assert "Open layers" in check_safe(report(Report("t", history=rows))).text


@pytest.mark.parametrize("rows", [(), [{"phase": "result", "validation_top1": 0.5}], [{"phase": "train", "epoch": 0}]])
def test_no_section_where_there_is_nothing_to_draw(rows):
    assert "training" not in {attrs.get("id") for _, attrs in check_safe(report(content(history=rows))).elements}


def test_training_is_on_pages_without_pictures_and_private_ones():
    assert 'id="training"' in report(content(show_pictures=False))
    rows = [*history(), searched({"epochs": "/home/anna/x", "IMG_0001": "anna/IMG_0001.jpg"}, 0.9)]
    text = report(private_content(history=rows))
    assert text.count("<svg") == 5 and "0.4000" in text
    assert not [secret for secret in ("anna", "IMG_", "/home") if secret in re.sub(r"data:image/[^\"]+", "", text)]
    named = content(names=("epoch.jpg", "phase.jpg", "train.jpg", "log_loss.jpg"), anonymise=True)
    assert report(named).count("<svg") == 5  # curves are there whatever pictures are called


def test_a_long_recipe_shows_what_matters_and_folds_the_rest():
    many = {"hue": 0.1, **{f"setting_{place}": place for place in range(42)}, "learning_rate": 5e-4, "epochs": 30}
    facts = views.recipe(many)
    assert facts["first"] == [("epochs", "30"), ("learning rate", "0.0005")]
    assert facts["rest"][0] == ("hue", "0.1") and len(facts["rest"]) == 43
    assert "43 more settings" in check_safe(report(content(recipe=many))).text
    assert views.recipe({"a_b": 1, "epochs": None}) == {"first": [("a b", "1")], "rest": []}
    strange = {"epochs": None, **{f"x{place}": place for place in range(20)}}
    assert len(views.recipe(strange)["first"]) == 20
    reader = check_safe(report(Report("t", recipe={"epochs": 3})))
    assert [attrs["id"] for tag, attrs in reader.elements if tag == "section"] == ["provenance"]


def write_page(tmp_path, page_content):
    path = tmp_path / "ein bericht.html"
    path.write_text(report(page_content), encoding="utf-8")
    return path


def column(page, place):
    return page.locator("#classes tbody tr").evaluate_all(
        f"rows => rows.map(row => row.cells[{place}].textContent.trim())"
    )


def test_browser_sorts_classes_and_keeps_undefined_last(browser, tmp_path):
    with open_page(browser, write_page(tmp_path, content(("cat", "dog", "emu")))) as page:
        recall = page.get_by_role("button", name="Recall")
        recall.click()
        assert column(page, 2) == ["0.000", "0.333", "0.667"]
        recall.press("Enter")
        assert column(page, 2) == ["0.667", "0.333", "0.000"]
        assert page.locator("#classes th[aria-sort]").get_attribute("aria-sort") == "descending"
        for _ in range(2):
            page.get_by_role("button", name="AUROC").click()
            assert column(page, 6) == ["0.900", "–", "–"]
        page.get_by_role("button", name="Class", exact=True).click()
        assert column(page, 0) == ["cat", "dog", "emu"]


def test_browser_shows_and_hides_maps(browser, tmp_path):
    with open_page(browser, write_page(tmp_path, content())) as page:
        over = page.locator("#mistakes .map").first
        expect(over).to_be_visible()
        assert over.evaluate("each => getComputedStyle(each).opacity") == "0.4"
        page.locator("#strength").fill("90")
        assert over.evaluate("each => getComputedStyle(each).opacity") == "0.9"
        page.get_by_role("checkbox", name="Maps").press("Space")
        expect(over).to_be_hidden()
        expect(page.locator("#examples .alone .map")).to_be_visible()
        assert page.locator("#mistakes .picture").first.evaluate("each => getComputedStyle(each).filter") == "none"


def test_browser_draws_every_image_and_tells_cells(browser, tmp_path):
    with open_page(browser, write_page(tmp_path, content())) as page:
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        ends = page.evaluate("""['.axis .interval', '.ticks'].map(name => {
            const box = document.querySelector(name).getBoundingClientRect(); return [box.left, box.right]; })""")
        assert ends[0] == ends[1]  # the scale's figures stand under the bar they belong to
        page.locator(".matrix td.wrong").first.hover()
        assert page.locator("#confusion .readout").inner_text() == "true cat, said dog: 1 of 2"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (360, False)])
def test_browser_runs_nothing_hostile_and_nothing_overflows(browser, tmp_path, width, dark):
    classes = tuple(f"{'long' * 12} {place} {mark}" for place, mark in enumerate(HOSTILE * 4))
    path = write_page(tmp_path, hostile_content()) if dark else write_page(tmp_path, content(classes))
    with open_page(browser, path, width=width, dark=dark) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.locator("body").hover()
        page.wait_for_timeout(100)
        assert page.locator("script").count() == 2 and page.locator("img[onerror]").count() == 0


def test_browser_tells_values_under_the_pointer_and_sorts_candidates(browser, tmp_path):
    with open_page(browser, write_page(tmp_path, content())) as page:
        hit = page.locator("#training .hit").nth(1)
        guide = "each => getComputedStyle(each.querySelector('line')).opacity"
        assert hit.evaluate(guide) == "0"
        hit.locator("rect").hover()
        readout = page.locator("#training .readout").first
        assert hit.evaluate(guide) == "0.45" and readout.inner_text().startswith("epoch 1: training loss")
        stroke = "each => getComputedStyle(each).stroke"
        light = page.locator("#training .validation path").first.evaluate(stroke)
        rows = page.locator("#training table.sortable tbody tr")
        assert rows.first.inner_text().split() == ["all", "0.4000", "0.500", "chosen"]
        page.get_by_role("button", name="Log-loss").click(click_count=2)
        assert rows.first.inner_text().split() == ["2", "0.4500", "0.500"]
    with open_page(browser, write_page(tmp_path, content()), dark=True) as page:
        assert page.locator("#training .validation path").first.evaluate(stroke) != light


def test_browser_is_watched(browser, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text("<img src='file:///nowhere.png'><script>console.error('x')</script>", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"nowhere\.png"), open_page(browser, path):
        pass
