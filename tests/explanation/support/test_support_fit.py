"""What a fit to judged words finds, what it says of words that it was not fitted to, and its scores by hand."""

import math

import numpy as np
import pytest

from regard.errors import UsageError
from regard.explanation.words.support.fit import cross_fitted, fit
from regard.explanation.words.support.judged import JudgedWord
from regard.explanation.words.support.model import SupportModel
from regard.explanation.words.support.scores import JudgedUnits


def drawn_words(sentences: int, seed: int, errors: str = "natural", network: str = "n") -> list[JudgedWord]:
    """A noun is right with logistic(1.5 a + 1), a colour with logistic(-1.5 a + 1), whatever `noise` is."""
    chance = np.random.default_rng(seed)
    words = []
    for number in range(sentences):
        for kind, sign in (("noun", 1.5), ("colour", -1.5)):
            value = float(chance.normal())
            right = bool(chance.random() < 1 / (1 + math.exp(-sign * value - 1)))
            checks = {"a": 10 + 3 * value, "noise": float(chance.normal())}
            if chance.random() < 0.1:
                checks["noise"] = math.nan
            words.append(JudgedWord(str(number), "w", kind, right, checks, errors, network=network))
        words.append(JudgedWord(str(number), "the", "other", True, {"a": 0.0}, errors, network=network))
    return words


def test_the_law_that_words_were_drawn_by_is_found_kind_by_kind() -> None:
    model = fit(drawn_words(1500, 0), data="drawn words")
    assert model.checks == ("a", "noise") and model.networks == ("n",) and model.data == "drawn words"
    values = np.array([7.0, 10.0, 13.0])
    for kind, sign in (("noun", 1.5), ("colour", -1.5)):
        came = model.probabilities({"a": values, "noise": np.zeros(3)}, [kind] * 3)
        assert came == pytest.approx(1 / (1 + np.exp(-sign * (values - 10) / 3 - 1)), abs=0.05)
    assert abs(model.coefficients["noun"][2]) < 0.15  # what says nothing counts for nothing


def test_probabilities_out_of_fold_hold_and_separate() -> None:
    words = drawn_words(600, 1)
    probabilities = cross_fitted(words)
    content = np.array([word.kind != "other" for word in words])
    assert np.isnan(probabilities[~content]).all() and np.isfinite(probabilities[content]).all()
    model = fit(words)
    score = model.measured["all"]
    right = np.array([word.right for word in words])[content]
    assert (score.n_right, score.n_wrong, score.units) == (right.sum(), (~right).sum(), 600)
    assert score.auroc.low < score.auroc.value < score.auroc.high and 0.7 < score.auroc.value < 0.9
    assert score.calibration_error.value < 0.05
    assert set(model.measured) == {"all", "noun", "colour"}
    best = 1.5 * np.array([(word.checks["a"] - 10) / 3 * (1 if word.kind == "noun" else -1) for word in words])[content]
    units = JudgedUnits.of([word for word in words if word.kind != "other"])
    assert units.auroc(best).value == pytest.approx(score.auroc.value, abs=0.03)  # near what there is to be known
    assert (cross_fitted(words, seed=1)[content] != probabilities[content]).any()
    assert np.array_equal(cross_fitted(words), probabilities, equal_nan=True)


def test_a_sentence_has_no_part_in_the_model_that_judges_it() -> None:
    """Sentences of which all words are alike in a check of their own: seen in training they would be known."""
    chance = np.random.default_rng(0)
    words = []
    for number in range(60):
        right = bool(chance.random() < 0.5)
        mark = {f"sentence {number}": 5.0}
        words += [JudgedWord(str(number), "w", "noun", right, {"a": float(chance.normal()), **mark}) for _ in range(4)]
    measured = fit(words).measured["all"]
    assert measured.auroc.value < 0.65 and measured.auroc.low < 0.5


def test_given_captions_have_coefficients_of_their_own() -> None:
    planted = [
        JudgedWord(word.unit, word.text, word.kind, not word.right, word.checks, "planted", network="n")
        for word in drawn_words(400, 3)
    ]
    model = fit(drawn_words(400, 2) + planted)
    made, given = (model.probabilities({"a": [13.0]}, ["noun"], aligned=each)[0] for each in (False, True))
    assert made > 0.8 and given < 0.2
    assert model.planted["all"].n_wrong == sum(not word.right and word.kind != "other" for word in planted)
    without = fit(drawn_words(400, 2))
    assert without.planted == {} and without.probabilities({"a": [13.0]}, ["noun"], aligned=True)[0] == pytest.approx(
        made
    )


def test_few_words_and_unknown_kinds() -> None:
    with pytest.raises(UsageError, match="takes at least 20 of each; judge more"):
        fit([word for word in drawn_words(30, 0) if word.right])
    model = fit(drawn_words(200, 0), checks=("noise",))
    assert model.checks == ("noise",)
    verb = model.probabilities({"noise": [0.0]}, ["verb"])[0]
    share = np.mean([word.right for word in drawn_words(200, 0) if word.kind != "other"])
    assert verb == pytest.approx(share, abs=0.1)  # a kind without words has what all have
    assert len(cross_fitted([])) == 0


def test_scores_by_hand() -> None:
    units = JudgedUnits(np.array([True, True, False, True, False]), np.array([0, 0, 0, 1, 1]))
    values = np.array([0.9, 0.4, 0.4, 0.2, 0.1])
    assert units.auroc(values).value == pytest.approx((1 + 0.5 + 0 + 3) / 6)
    assert units.difference(values, -values).value == pytest.approx(4.5 / 6 - 1.5 / 6)
    # bins: 0.9 | 0.4 and 0.4 | 0.2 | 0.1, each with the sum of what it exceeds the truth by
    assert units.calibration_error(values).value == pytest.approx((0.1 + abs(0.8 - 1) + 0.8 + 0.1) / 5)
    nan = units.auroc(np.array([0.9, 0.4, math.nan, 0.2, math.nan])).value
    assert nan == 1.0  # words without a value stand below all others
    alone = JudgedUnits(np.array([True, True]), np.array([0, 1]))
    assert math.isnan(alone.auroc(np.array([0.1, 0.2])).value) and not alone.has_both


def test_what_was_measured_on_given_captions_alone_does_not_speak_of_others() -> None:
    """Where the network's own words were not judged, or too few wrong ones: their errors are told by other numbers."""
    planted = drawn_words(200, 4, "planted")
    for words in (planted, [*drawn_words(20, 0), *planted]):
        model = fit(words)
        assert model.errors == "planted" and not model.speaks_of(aligned=False) and model.speaks_of(aligned=True)
        assert model.measured["all"].n_right + model.measured["all"].n_wrong == 400
        assert SupportModel.from_json(model.as_json()).errors == "planted"
    own = fit(drawn_words(200, 0))
    assert own.speaks_of(aligned=False) and not own.speaks_of(aligned=True)
    both = fit([*drawn_words(200, 0), *planted])
    assert both.speaks_of(aligned=False) and both.speaks_of(aligned=True)


def test_scores_of_given_captions_are_those_of_the_model_that_is_asked() -> None:
    """Their checks are brought to the scale of the captions that the network makes, and cut there: what lies beyond
    the cut must not count in the scores either."""
    far = [
        JudgedWord(word.unit, word.text, word.kind, word.right, {"a": word.checks["a"] + 60.0}, "planted", network="n")
        for word in drawn_words(300, 5)
    ]
    measured = fit([*drawn_words(300, 6), *far]).planted["noun"].auroc
    assert fit(far).measured["noun"].auroc.value > 0.7 and measured.value < 0.6
