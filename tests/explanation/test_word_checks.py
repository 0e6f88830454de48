"""Checks of words: each against a slow twin in float64 on small woken networks of every family, cases by hand, and what
a network cannot give."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import planted
import pytest
import torch
import word_check_twins as twins
from word_check_twins import CHAT, CROSS, IMAGES, LAYER, OWN, Case

from regard.errors import UsageError
from regard.explanation.words.alignment import word_spans
from regard.explanation.words.checks import LEVELS, WORD_CHECKS
from regard.explanation.words.checks.removal import FRACTIONS, Removal, removal_of
from regard.explanation.words.checks.run import checks_of, fitting_checks, missing_checks, rows_of
from regard.explanation.words.finished import FinishedCaption
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.wordpiece import Span

KINDS = (*OWN, *CROSS, *CHAT)
LENS = {"glsim", "glsim_global", "glsim_local", "viser_evidence"}
SHARED = {"picture_attention", "viser_ratio"}
CHOICE = {"margin", "certainty", "least_before", "least_after"}
MAPS = {"concentration", "repetition", "moved_by_none", "moved_by_another"}
PLAIN = {"log_probability", "gain_over_none", "gain_over_another", *CHOICE, *MAPS}
"""What any network has."""
ALWAYS = {*PLAIN, "text_attention"}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    return cache(lambda kind: Case.of(kind, tmp_path_factory.mktemp(kind)))


def finished(case: Case, words: tuple[Span, ...] | None = None) -> FinishedCaption:
    return FinishedCaption(
        case.network,
        case.prepared,
        case.tokens,
        case.words if words is None else words,
        case.other,
        IMAGES[0],
        case.prompt,
        layer=LAYER,
    )


def near(came: Any, right: Any, within: float = 2e-4) -> None:
    came, right = np.asarray(came, np.float64), np.asarray(right, np.float64)
    assert came.shape == right.shape
    assert np.abs(right).max() > 1e-3  # awake: else anything would do
    assert np.abs(came - right).max() < within * max(1, np.abs(right).max())


@pytest.mark.parametrize("kind", KINDS)
def test_checks_are_their_slow_twins(cases: Any, kind: str) -> None:
    case = cases(kind)
    right = twins.quick(case)
    names = fitting_checks(case.network, "quick")
    lens = kind not in CROSS or kind == "encoder_decoder"  # GPT-2 adds to its states; the others norm, or none was made
    expected = ALWAYS | (LENS if lens else set()) | ({*SHARED, "viser"} if kind in CHAT else set())
    assert {*names} == expected == {*right}
    came = checks_of(finished(case), names)
    for name in names:
        near(came[name], right[name])


@pytest.mark.parametrize("kind", ["describer", "git"])
def test_removal_is_its_slow_twin(cases: Any, kind: str) -> None:
    """Tokens are left out of an encoder that can do without, of the others the mean colour is painted."""
    case = cases(kind)
    caption = finished(case, case.words[:2])
    assert case.network.removes_tokens == (kind == "describer")
    maps = twins.run(case, case.prepared).maps.mean(0).numpy()  # (tokens, patches)
    rows, columns = case.prepared.grid.rows, case.prepared.grid.columns
    whole = [float(value) for value in twins.run(case, case.prepared).logs[range(len(case.tokens)), case.tokens]]
    orders = [np.argsort(-maps[word.start : word.stop].mean(0)) for word in caption.words]
    gain = np.zeros((2, 2, 2))  # deletion or insertion, order, word
    for number, order in enumerate(orders):
        for fraction in FRACTIONS:
            first = np.zeros(rows * columns, bool)
            first[order[: round(rows * columns * fraction)]] = True
            less, alone = (twins.without(case, each.reshape(rows, columns)) for each in (~first, first))
            for place, word in enumerate(caption.words):
                for token in range(word.start, word.stop):
                    gain[0, number, place] += (whole[token] - less[token]) / len(FRACTIONS)
                    gain[1, number, place] += (alone[token] - whole[token]) / len(FRACTIONS)
    came = checks_of(caption, [row.name for row in rows_of("full") if row.level == "full"])
    near(came["deletion"], gain[0].diagonal())
    near(came["insertion"], gain[1].diagonal())
    near(came["removal"], gain.sum(0).diagonal())
    near(came["removal_over_words"], gain.sum(0).diagonal() - gain.sum(0)[[1, 0], [0, 1]])
    again = removal_of(finished(case, case.words[:2]))
    assert again is not removal_of(caption) and (again.without == removal_of(caption).without).all()  # no chance in it


def test_removal_by_hand() -> None:
    """Of an order and its reverse what is gained and lost is the same: both curves together are symmetric."""
    curves = np.array([[-3.0], [-2.0], [-1.5], [-1.0], [-0.6]])  # the first f alone, in rising f
    reverse = np.array([[-4.0], [-3.0], [-2.5], [-2.0], [-1.0]])
    removal = Removal(np.array([-0.5]), np.stack([reverse[::-1], curves[::-1]]), np.stack([curves, reverse]))
    assert removal.gain[:, 0].tolist() == pytest.approx([0.88, -0.88])
    assert removal.deletion[0, 0] == pytest.approx(2.5 - 0.5) and removal.insertion[0, 0] == pytest.approx(0.5 - 1.62)


def test_a_map_that_shows_what_a_word_needs_is_faithful_and_others_are_not() -> None:
    """Words that are likelier the more of their own patch is there: the map that looks at it beats all baselines."""

    class Needing(planted.Planted):
        def removed(self, picture: Any, image: Any, tokens: Any, visible: Any, prompt: Any) -> Any:
            flat = visible.flatten(1).float()  # token t needs patch t, where its map looks
            return flat[:, : len(tokens)] * 5 - 6

    network = Needing()
    prepared = network.prepare(IMAGES[0])
    words = tuple(Span(f"w{place}", place, place + 1) for place in range(8))
    caption = FinishedCaption(network, prepared, planted.SENTENCE, words, None, IMAGES[0])
    names = [row.name for row in rows_of("full") if row.level == "full"]
    came = checks_of(caption, names)
    assert came["removal"].tolist() == pytest.approx([5.0] * 8)
    assert (came["removal_over_words"] > -1e-6).all() and came["removal_over_words"].mean() > 3
    assert came["removal_over_random"].mean() > 2
    assert (came["removal_over_centre"][[0, 4, 5]] > 3).all()  # patches at the edge; the middle one is no worse


@pytest.mark.parametrize("kind", ["describer", "merged"])
def test_together_is_one_by_one(cases: Any, kind: str) -> None:
    """Words by themselves have what they have among others, and every check what it has without the others."""
    case = cases(kind)
    names = fitting_checks(case.network, "quick")
    whole = checks_of(finished(case), names)
    for place, word in enumerate(case.words):
        alone = finished(case, (word,))
        for name in names:
            value = 0 if name == "repetition" else whole[name][place]  # alone, it is there for the first time
            assert WORD_CHECKS.load(name)(alone)[0] == pytest.approx(value, abs=1e-6)


def test_patches_are_taken_out_of_many_at_once_as_of_one(cases: Any) -> None:
    case = cases("describer")
    chance = torch.Generator().manual_seed(1)
    visible = torch.rand(9, 4, 4, generator=chance) > 0.5
    given = case.prepared, IMAGES[0], case.tokens
    together = case.network.removed(*given, visible, None)
    apart = torch.cat([case.network.removed(*given, each[None], None) for each in visible])
    near(together, apart, 1e-5)
    every = case.network.removed(*given, torch.ones(1, 4, 4, dtype=torch.bool), None)[0]
    near(every, case.network.teacher_force([case.prepared], [case.tokens])[0].log_probabilities, 1e-5)


def test_a_caption_of_one_word_and_a_word_said_twice(cases: Any) -> None:
    case = cases("describer")
    one = replace(case, tokens=(case.tokens[0],), words=(Span("w", 0, 1),))
    came = checks_of(finished(one), fitting_checks(case.network, "full"))
    assert all(values.shape == (1,) for values in came.values())
    assert came["text_attention"][0] == 0 and np.isnan(came["removal_over_words"][0])
    assert np.isfinite([values[0] for name, values in came.items() if name != "removal_over_words"]).all()
    twice = replace(case, tokens=(5, 9, 5), words=tuple(Span("w", k, k + 1) for k in range(3)))
    came, right = checks_of(finished(twice), fitting_checks(case.network, "quick")), twins.quick(twice)
    for name, values in came.items():
        near(values, right[name])
    assert came["log_probability"][0] != came["log_probability"][2]  # the same word, at two places


def test_a_caption_cut_at_the_limit_has_checks_of_all_its_words(cases: Any) -> None:
    case = cases("describer")
    limit = case.network.limit
    tokens = tuple(4 + place % 14 for place in range(limit))
    words = tuple(Span("w", place, place + 1) for place in range(limit))
    came = checks_of(finished(replace(case, tokens=tokens, words=words)), fitting_checks(case.network, "quick"))
    assert all(np.isfinite(values).all() and len(values) == limit for values in came.values())


@pytest.mark.parametrize("text", ["猫が好き", "unbelievably zyzzyva, A CAT", "кот"])
def test_unknown_words_and_scripts_without_spaces(cases: Any, text: str) -> None:
    """One value for each word as it is shown, whatever tokens it is made of."""
    for kind in ("blip", "merged"):
        case = cases(kind)
        tokens = tuple(case.network.tokenize(text))
        (decoding,) = case.network.teacher_force([case.prepared], [tokens])
        words = word_spans(decoding, case.network.pieces_of(text, tokens))
        came = checks_of(finished(replace(case, tokens=tokens, words=words)), fitting_checks(case.network, "quick"))
        assert words and all(np.isfinite(values).all() and len(values) == len(words) for values in came.values())
        assert came["log_probability"].sum() == pytest.approx(float(decoding.log_probabilities.sum()), abs=1e-4)


def test_a_prompt_that_names_the_object_is_no_word_before(cases: Any) -> None:
    """The same caption behind another prompt: the first word still has none before it, and shares stay shares."""
    case = cases("merged")
    prompt = "what colour is the cat"
    prepared, other = (case.network.prepare(image, prompt) for image in IMAGES)
    asked = replace(case, prompt=prompt, prepared=prepared, other=other)
    came, right = checks_of(finished(asked), fitting_checks(case.network, "quick")), twins.quick(asked)
    for name, values in came.items():
        near(values, right[name])
    assert came["text_attention"][0] == 0 and (came["picture_attention"] < 1 + came["text_attention"]).all()


def test_a_caption_without_words_has_no_checks(cases: Any) -> None:
    case = cases("describer")
    assert all(
        len(values) == 0 for values in checks_of(finished(case, ()), fitting_checks(case.network, "quick")).values()
    )


# what there is, and what a network cannot give


def test_the_rows_are_data_and_say_what_they_need() -> None:
    for row in WORD_CHECKS:
        assert callable(WORD_CHECKS.load(row.name)) and row.description and row.source, row.name
        assert row.joins in ("sum", "mean", "least") and row.level in LEVELS
        assert {*row.passes} <= {"own", "another", "none", "removal"} and "own" in row.passes
    assert {row.name for row in rows_of("quick")} < {row.name for row in rows_of("full")} == {*WORD_CHECKS.names}


def test_a_network_of_which_nothing_is_known_has_what_any_network_has() -> None:
    """No attention to the words before, no hidden states: said, not made up."""
    network = planted.Planted()
    names = fitting_checks(network, "quick")
    assert {*names} == PLAIN
    missing = missing_checks(network, "full")
    assert missing["text_attention"] == "attention to the words before"
    assert missing["viser"] == (
        "hidden states of words and patches that one head reads and one attention over picture and words together"
    )
    assert {*missing} == {*WORD_CHECKS.names} - {*fitting_checks(network, "full")}
    caption = FinishedCaption(network, network.prepare(IMAGES[0]), planted.SENTENCE, (Span("a", 0, 1),))
    assert np.isnan(WORD_CHECKS.load("gain_over_another")(caption)[0])  # there is no other picture
    for name, message in (
        ("text_attention", "no attention to the words"),
        ("glsim", "no hidden states"),
        ("removal", "image"),
    ):
        with pytest.raises(UsageError, match=message):
            WORD_CHECKS.load(name)(caption)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_is_what_teacher_forcing_gives(cases: Any, kind: str) -> None:
    """And the last states through norm and head are the network's own logits."""
    case = cases(kind)
    capture = Capture(0, 1)
    trace = case.network.trace(case.prepared, case.tokens, capture=capture)
    (decoding,) = case.network.teacher_force([case.prepared], [case.tokens], capture=capture)
    assert torch.allclose(trace.decoding.log_probabilities, decoding.log_probabilities, atol=1e-5)
    assert torch.allclose(trace.decoding.attention, decoding.attention, atol=1e-6)
    assert trace.attention is not None and torch.allclose(trace.attention.sum(-1), torch.ones(1), atol=1e-5)
    if trace.lens is not None:
        owner = case.network.module if kind in OWN else case.network
        logs = owner.read_out(trace.lens.words[:-1]).log_softmax(-1)
        came = logs.gather(1, torch.tensor(case.tokens)[:, None])[:, 0]
        assert torch.allclose(came.detach(), decoding.log_probabilities, atol=1e-5)
    with pytest.raises(UsageError, match="there is no layer 9"):
        case.network.trace(case.prepared, case.tokens, layer=9)
