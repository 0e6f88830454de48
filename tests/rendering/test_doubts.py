"""Doubtful words in panels and contact sheets: marked by a wavy line, and why; what has no support is not marked."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from regard.records import Caption, Captions, Heatmap, PatchGrid, Word, WordSupport, support_text
from regard.rendering import displays
from regard.rendering.figures.caption_panels import SheetItem, caption_panel, caption_sheet, cells_of
from regard.rendering.figures.doubts import DOUBT, _spans, doubt_lines, reason_lines
from regard.rendering.lettering import font, share_text

BOY = WordSupport(0.2, "noun", ("as likely without the picture", "another picture gives it as much"), "girl")
SURE = WordSupport(0.9, "noun")
PICTURE = Image.new("RGB", (60, 60), (90, 90, 90))


def caption_with(
    *supports: WordSupport | None, texts: tuple[str, ...] = ("a", "boy", "runs"), **fields: object
) -> Caption:
    grid = PatchGrid.whole(2, 2, picture=(60, 60))
    heatmap = Heatmap(np.array([[0.1, 0.2], [0.3, 0.4]], np.float32), grid, "a.png")
    words = [Word(text, 0.5, heatmap, support=support) for text, support in zip(texts, supports, strict=True)]
    return Caption("a.png", " ".join(texts), tuple(words), grid=grid, image=lambda longest: PICTURE, **fields)


def waves(picture: Image.Image) -> np.ndarray:
    """(height, width) bool: pixels of wavy lines and of doubtful numbers."""
    return (np.asarray(picture) == DOUBT).all(-1)


def panel(caption: Caption) -> Image.Image:
    return caption_panel(PICTURE, caption.name, caption.text, cells_of(caption))


def test_a_doubtful_word_has_a_wave_in_the_caption_and_over_its_map_and_its_number_below() -> None:
    drawn = panel(caption_with(SURE, BOY, None))
    found = waves(drawn)
    letters = font(22, True)
    heading = found[:60]
    across = np.nonzero(heading.any(0))[0] - 20
    assert across.min() == pytest.approx(letters.getlength("a "), abs=3)
    assert across.max() == pytest.approx(letters.getlength("a boy"), abs=3)
    assert len({*np.nonzero(heading[:, across.min() + 20 : across.max() + 20])[0]}) >= 3  # a wave, not a line
    cells = np.nonzero(found[60:].any(1))[0] + 60
    assert cells.max() - cells.min() > 100  # over the map, and the number below it
    assert not waves(panel(caption_with(SURE, SURE, None))).any()
    assert not waves(panel(caption_with(None, None, None))).any()


def test_a_panel_without_support_is_as_it_was_and_one_without_a_model_has_raw_gains() -> None:
    plain = caption_with(None, None, None)
    checked = replace(plain, words=tuple(replace(word, checks={"gain_over_none": -0.01}) for word in plain.words))
    assert [cell.checks for cell in cells_of(plain)] == [""] * 4
    assert [cell.checks for cell in cells_of(checked)] == ["", *["gains +0.0 · –"] * 3]
    assert panel(checked).height > panel(plain).height
    mixed = replace(checked, words=(replace(checked.words[0], support=SURE), *checked.words[1:]))
    assert {cell.checks for cell in cells_of(mixed)} == {""}


def test_words_are_found_as_the_author_wrote_them() -> None:
    def places(lines: list[str], *texts: str) -> list[tuple[int, int, int] | None]:
        return _spans(lines, [(text, None) for text in texts])

    assert places(["A CAT and", "a Cat"], "a", "cat", "and", "a", "cat") == [
        (0, 0, 1), (0, 2, 5), (0, 6, 9), (1, 0, 1), (1, 2, 5)
    ]  # fmt: skip
    assert places(["the cat's paw"], "<start>", "cat", "paw", "<end>") == [None, (0, 4, 7), (0, 10, 13), None]
    assert places(["猫坐着"], "猫", "坐", "着") == [(0, 0, 1), (0, 1, 2), (0, 2, 3)]
    assert places(["a cathedral"], "cat", "") == [None, None]  # a part of a word is not the word
    assert places(["İİ cat"], "cat") == [(0, 3, 6)]  # letters that are longer in lower case
    assert places(["a <U+202E>cat"], "\u202ecat") == [(0, 2, 13)]


def test_a_sheet_says_the_least_supported_words_first_and_counts_the_others() -> None:
    letters = font(11)
    lines = doubt_lines([("cat", SURE), ("dog", replace(BOY, probability=0.4)), ("boy", BOY)], letters, 400, 4)
    assert lines == ["boy 0.20 (rather girl): as likely without the picture",
                     "dog 0.40 (rather girl): as likely without the picture"]  # fmt: skip
    many = [(f"w{place}", WordSupport(0.01 * place, "noun")) for place in range(9)]
    assert doubt_lines(many, letters, 400, 4) == ["w0 0.000", "w1 0.01", "w2 0.02", "… and 6 doubtful words more"]
    assert [share_text(share) for share in (0.004, 0.3, 0.998, 1.0)] == ["0.004", "0.30", "0.998", "1.000"]
    assert doubt_lines([("boy", BOY)] * 3, letters, 400, 4) == lines[:1]
    assert len(doubt_lines([("x" * 300, BOY)] * 2 + many, letters, 100, 4)) <= 4
    assert reason_lines(BOY, letters, 400, 2) == ["better supported: girl", "as likely without the picture …"]
    items = [SheetItem(PICTURE, "a.png", "a boy", [("a", None), ("boy", BOY)])]
    assert waves(caption_sheet(items)).any()
    assert not waves(caption_sheet([replace(items[0], words=[("a", None), ("boy", SURE)])])).any()


def test_right_to_left_text_has_its_marks_at_its_words_alone() -> None:
    hebrew = caption_with(SURE, BOY, texts=("א", "בג"))
    assert not waves(panel(hebrew))[:60].any()
    assert waves(panel(hebrew))[60:].any()


def test_a_notebook_shows_the_marks_and_what_they_were_measured_on() -> None:
    import io

    score = {"value": 0.91, "low": 0.89, "high": 0.934}
    counts = {"n_right": 9000, "n_wrong": 120, "auroc": score, "calibration_error": score}
    few = {"n_right": 500, "n_wrong": 19, "auroc": score}
    measured = {"all": counts, "noun": counts, "count": few}
    settings = {"check": "quick", "support": {"data": "1,000 scenes", "errors": "natural", "measured": measured}}
    text = (
        "Support measured on 9,120 words (120 wrong) of 1,000 scenes: AUROC 0.91 (0.89 to 0.93); noun 0.91. "
        "Calibration error 0.910 (0.890 to 0.934)."
    )
    assert support_text(settings) == text
    settings["support"]["errors"] = "planted"
    assert "(120 wrong, exchanged in true captions)" in support_text(settings)
    assert support_text({}) == ""
    assert "raw checks" in support_text({"check": "quick"})
    caption = caption_with(SURE, BOY, None, settings=settings)
    for content in (displays.caption_png(caption), displays.captions_png(Captions((caption,)))):
        assert waves(Image.open(io.BytesIO(content)).convert("RGB")).any()
