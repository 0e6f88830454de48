"""Word pieces as BERT makes them, and words from pieces."""

import gzip
import json
from pathlib import Path

import pytest
from transformers import BertTokenizer

from regard.errors import NetworkError, UsageError
from regard.networks.captioners.wordpiece import SHIPPED_VOCABULARY, Span, WordPiece

TEXTS = [
    *("Café naïve RÉSUMÉ", "it's a t-shirt; $5.00 + tax^2 `x` ~", "don't won't I've", "123,456.789", "unaffable"),
    *(
        "東京 tower 日本語",
        "한국어 텍스트",
        "İstanbul ß ẞ ﬁ ς",
        "a\u0301\u0327b",
        "㐀𠀀",
        "emoji 😀👍🏽",
        "¿qué? «hola» — ok…",
    ),
    *("", "  \t\n a\u200bb\u00a0c\u3000d\x07e\ufffd", "a\u2028b", "x" * 100 + " " + "y" * 101),
]


@pytest.fixture(scope="module")
def words() -> WordPiece:
    return WordPiece.load()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> BertTokenizer:
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_bytes(gzip.decompress(SHIPPED_VOCABULARY.read_bytes()))
    return BertTokenizer(str(path))


def agree(words: WordPiece, original: BertTokenizer, text: str) -> None:
    tokens = original.encode(text, add_special_tokens=False)
    assert words.encode(text) == tokens, text
    assert words.decode(tokens) == original.convert_ids_to_tokens(tokens)
    plain = original.decode(tokens, clean_up_tokenization_spaces=True)
    assert words.text([words.start, *tokens, words.stop, 0]) == plain
    spans = words.words(tokens)
    assert [place for span in spans for place in range(span.start, span.stop)] == list(range(len(tokens)))


@pytest.mark.parametrize("text", TEXTS)
def test_texts_as_transformers_splits_them(words: WordPiece, original: BertTokenizer, text: str) -> None:
    agree(words, original, text)


@pytest.mark.shared
def test_captions_as_transformers_splits_them(words: WordPiece, original: BertTokenizer, shared: Path) -> None:
    captions = json.loads((shared / "data" / "coco-free" / "captions.json").read_text(encoding="utf-8"))["annotations"]
    assert len(captions) > 400
    for caption in captions:
        agree(words, original, caption["caption"])


@pytest.mark.shared
def test_the_shipped_vocabulary_is_the_one_that_catr_was_trained_with(words: WordPiece, shared: Path) -> None:
    text = (shared / "data" / "bert-base-uncased-vocab.txt").read_text(encoding="utf-8")
    assert list(words.pieces) == text.splitlines()
    assert (len(words), words.start, words.stop, words.tokens["[PAD]"]) == (30522, 101, 102, 0)


def test_a_word_of_three_pieces_in_the_middle_of_a_sentence(words: WordPiece) -> None:
    tokens = [*words.encode("A snowboarder jumps."), words.stop]
    assert words.decode(tokens) == ["a", "snow", "##board", "##er", "jumps", ".", "[SEP]"]
    assert words.words(tokens) == (
        Span("a", 0, 1), Span("snowboarder", 1, 4), Span("jumps", 4, 5), Span(".", 5, 6), Span("[SEP]", 6, 7),
    )  # fmt: skip


def test_a_piece_that_goes_on_with_nothing_is_a_word_of_its_own(words: WordPiece) -> None:
    board, er = words.tokens["##board"], words.tokens["##er"]
    assert words.words([board, er]) == (Span("boarder", 0, 2),)
    spans = words.words([words.start, board, words.tokens["[UNK]"], er, words.stop])
    assert [span.text for span in spans] == ["[CLS]", "board", "[UNK]", "er", "[SEP]"]
    assert words.words([]) == ()


def test_text_is_only_ever_text(words: WordPiece) -> None:
    assert words.decode(words.encode("a [SEP] b")) == ["a", "[", "sep", "]", "b"]
    assert words.encode("\ud800") == []


def test_a_token_that_there_is_not(words: WordPiece) -> None:
    for token in (-1, 30522):
        with pytest.raises(UsageError, match="from 0 to 30521"):
            words.decode([token])


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "no vocabulary"),
        (b"a\nb\n", r"lacks \[PAD\]"),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\na\n", "twice"),
        (b"\x1f\x8b broken", "cannot be read"),
        (gzip.compress(b"[PAD]\n" * 99, mtime=0)[:-9], "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_vocabulary_that_cannot_be_used(tmp_path: Path, content: bytes | None, match: str) -> None:
    path = tmp_path / "vocab.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NetworkError, match=match) as caught:
        WordPiece.load(path)
    assert "\n" not in str(caught.value)


def test_a_plain_file_with_windows_lines(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(b"[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\ncat\r\n##s\r\n")
    words = WordPiece.load(path)
    assert words.encode("Cats!") == [4, 5, 1]
    assert words.text([4, 5, 3]) == "cats"
