"""A vocabulary of the user's own captions: what is written in any script comes back as it was written."""

import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import captioners
import pytest
from tiny_captions import caption_recipe, caption_sides, draw_captioned, tiny_captioner

from regard.explanation.words.alignment import spans
from regard.measurement.captions.captioned import tokens
from regard.networks.captioners.load import load_caption_network
from regard.networks.captioners.pieces import Pieces
from regard.networks.captioners.run import VOCABULARY
from regard.networks.captioners.scripts import parts
from regard.networks.captioners.wordpiece import UNKNOWN, WordPiece
from regard.networks.captioners.written_words import WrittenWords, written_pieces

SCRIPTS = {
    "German": "Rötliche Kreise auf Weiß, größer als früher.",
    "French": "L’été dernier : « un chat » — c'est-à-dire 3,5 kg !",
    "Vietnamese": "Những chấm tròn màu đỏ trên nền trắng",
    "Turkish": "İstanbul'da ışıklı IRMAK, ğüşöç",
    "Greek": "Ένας σκύλος τρέχει· ΟΔΟΣ Ὀδυσσεύς",
    "Russian": "Чёрный кот и ещё один (спит)…",
    "Hindi": "नीली बत्ती और क़लम, ज़मीन पर।",
    "Tamil": "சிவப்பு புள்ளிகள் உள்ள படம்",
    "Thai": "จุดสีแดงบนพื้นหลังสีขาว ๆ 3 จุด",
    "Khmer": "ស្រីស្អាត\u200bនៅលើផ្លូវ។",
    "Myanmar": "မြန်မာနိုင်ငံ၌ ဣန္ဒြေ",
    "Chinese": "白底上的红色圆点，三个dog在跑。",
    "Japanese": "白い背景の上のカラフルな丸、ﾄﾞｯｸﾞ！",
    "Korean": "흰 바탕 위의 빨간 점들입니다.",
    "Arabic": "نُقَطٌ حمراء على خلفيةٍ بيضاء، أليس كذلك؟",
    "Persian": "نقطه\u200cهای قرمز می\u200cبینم.",
    "Hebrew": "נְקֻדּוֹת אֲדֻמּוֹת \u200fעל רקע לבן (3)",
    "Emoji": "a 👩🏽\u200d🚒 and ❤️, #1️⃣ [PAD] ##x ## a##b @ $5.00",
}


def vocabulary_of(*texts: str, least: int = 1) -> WrittenWords:
    return WrittenWords.of(Counter(piece for text in texts for piece in written_pieces(text)), least)


def test_captions_in_any_script_come_back_as_they_were_written(tmp_path: Path) -> None:
    """One vocabulary of all of them, as a run keeps it; in normal form and as a file system of macOS writes it."""
    (tmp_path / VOCABULARY).write_text("\n".join(vocabulary_of(*SCRIPTS.values()).pieces) + "\n", encoding="utf-8")
    words = WrittenWords.load(tmp_path / VOCABULARY)
    for text in SCRIPTS.values():
        there = words.encode(text)
        assert words.tokens[UNKNOWN] not in there and max(there) > words.stop
        assert words.text([words.start, *there, words.stop, 0, 0]) == text
        for form in ("NFC", "NFD"):
            assert words.text(words.encode(unicodedata.normalize(form, text))) == text
            assert tokens(unicodedata.normalize(form, text)) == tokens(text) != []
        assert words.text(words.encode(f"  {text.replace(' ', chr(9) + ' ')}\r\n")) == text


def test_scripts_without_spaces_are_cut_at_letters_with_their_signs() -> None:
    assert list(written_pieces("จุดสีแดง 红色dog。")) == [
        "จุ", "##ด", "##สี", "##แ", "##ด", "##ง", "红", "##色", "##dog", "##。",
    ]  # fmt: skip
    assert list(parts("ស្រី")) == ["ស្រី"]  # the second letter stands under the first
    assert list(written_pieces("हिन्दी, it's")) == ["हिन्दी", "##,", "it", "##'", "##s"]
    for text in SCRIPTS.values():
        assert all("".join(parts(word)) == word for word in text.split())


def test_words_that_are_shown_are_those_that_are_written() -> None:
    words = vocabulary_of("Kreise, rot-blau 红色 it's.")
    pieces = tuple(words.decode(words.encode("Kreise, rot-blau 红色 it's.")))
    found = [span.text for span in spans(Pieces(pieces, "wordpiece", (False,) * len(pieces)))]
    assert found == ["Kreise", ",", "rot-blau", "红", "色", "it's", "."]


def test_other_spellings_are_the_word_that_is_there() -> None:
    words = vocabulary_of("Rote Kreise, 红色", "Rote Äpfel")
    assert words.text(words.encode("rote KREISE , A\u0308PFEL 色红")) == "Rote Kreise, Äpfel色 红"
    assert words.encode("grün") == [words.tokens[UNKNOWN]]
    both = vocabulary_of("Weg weg weg")
    assert [both.text(both.encode(word)) for word in ("Weg", "weg", "WEG")] == ["Weg", "weg", "weg"]


def test_rare_words_and_spellings_of_one_word() -> None:
    decomposed = unicodedata.normalize("NFD", "grün")
    words = vocabulary_of(decomposed, "grün", "grün", "rot", least=2)
    assert words.pieces[4:] == ("grün",)  # three times, once of them decomposed
    assert words.encode(f"{decomposed} rot") == [4, words.tokens[UNKNOWN]]


@pytest.mark.parametrize("language", ["German", "Thai", "Chinese", "Arabic", "Hindi"])
def test_scores_compare_both_sides_alike(language: str) -> None:
    text = SCRIPTS[language]
    assert tokens(text.upper()) == tokens(text.lower()) == tokens(text)
    assert tokens(f"\u200f{text}\ufeff") == tokens(text)


def test_scores_of_scripts_without_spaces_count_letters() -> None:
    assert tokens("红色的 圆点。") == tokens("红色的圆点") == ["红", "色", "的", "圆", "点"]
    assert tokens("จุดสีแดง") == ["จุ", "ด", "สี", "แ", "ด", "ง"]
    assert tokens("Straße, ΟΔΟΣ, ﬁn") == tokens("STRASSE οδος fin")


def shown(captioner: Any, text: str) -> list[str]:
    """The words of a given caption as a panel shows them."""
    return [span.text for span in spans(captioner.pieces_of(text, captioner.tokenize(text))) if span.text]


def test_given_words_that_the_vocabulary_lacks_are_shown_as_written(tmp_path: Path) -> None:
    training, _ = caption_sides(draw_captioned(tmp_path / "data"))
    own = tiny_captioner(training, caption_recipe())
    assert shown(own, "a Größe red-Ünit, on 红 (the) left.")[:-1] == [
        "a", "Größe", "red-Ünit", ",", "on", "红", "(", "the", ")", "left", ".",
    ]  # fmt: skip
    pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "dot", "##s", ".")
    own.vocabulary = WordPiece(pieces, {piece: token for token, piece in enumerate(pieces)})
    assert shown(own, "A Größe red dots, ください İx.")[:-1] == [
        "a",
        "Größe",
        "red",
        "dots",
        ",",
        "ください",
        "İx",
        ".",
    ]
    assert shown(own, "a red dot")[:-1] == ["a", "red", "dot"]


def test_generated_unknown_words_stay_unknown_and_apart(tmp_path: Path) -> None:
    training, _ = caption_sides(draw_captioned(tmp_path / "data"))
    own = tiny_captioner(training, caption_recipe())
    words = own.vocabulary
    tokens = [words.tokens["a"], words.tokens[UNKNOWN], words.tokens["##."], words.stop]
    assert [span.text for span in spans(own.pieces(tokens))] == ["a", "[UNK]", ".", "[SEP]"]
    assert own.text(tokens) == "a [UNK]."


@pytest.mark.parametrize("fast", [True, False])
def test_given_words_that_a_vocabulary_of_transformers_lacks(tmp_path: Path, fast: bool, monkeypatch: Any) -> None:
    captioner = load_caption_network(str(captioners.blip(tmp_path)))
    if not fast:  # no offsets then, and words are told by their letters
        monkeypatch.setattr(type(captioner.tokenizer), "is_fast", False)  # type: ignore[attr-defined]
    assert shown(captioner, "a small Größe (cat) 😺.")[:-1] == ["a", "small", "Größe", "(", "cat", ")", "😺", "."]
