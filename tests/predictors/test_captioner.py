"""`regard.Captioner`: pictures in memory and in files, one or many, streams, given captions, threads, and bad input."""

import io
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import captioners
import catr_twin
import numpy as np
import pytest
import torch
from PIL import Image
from planted import COLUMNS, PIECES, ROWS, Planted, Varied
from torch import nn

import regard
from regard.data.images.longest_side import LongestSide
from regard.errors import DataError, UsageError
from regard.networks.captioners.families.catr import CatrCaptioner
from regard.networks.captioners.wordpiece import WordPiece
from regard.records import Caption, Captions
from regard.results.captions import caption_entry

SIZES = ((60, 100), (100, 60), (40, 130))


@pytest.fixture(scope="module")
def network() -> CatrCaptioner:
    """A small CATR of random values, which looks at its pictures."""
    catr = catr_twin.small_catr(torch.stack(catr_twin.pictures(*[(70, 101)] * 2)))
    pieces = [f"w{token}" for token in range(catr.vocabulary)]
    for token, piece in {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 5: "##s"}.items():
        pieces[token] = piece
    vocabulary = WordPiece(tuple(pieces), {piece: token for token, piece in enumerate(pieces)})
    return CatrCaptioner(catr, vocabulary=vocabulary, preparation=LongestSide(101))


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return [captioners.picture(*size, seed=seed) for seed, size in enumerate(SIZES)]


def assert_same(one: Caption, other: Caption, within: float = 0) -> None:
    assert one.text == other.text
    assert [word.text for word in one.words] == [word.text for word in other.words]
    assert np.abs(one.maps - other.maps).max() <= within
    for word, twin in zip(one.words, other.words, strict=True):
        assert word.log_probability == pytest.approx(twin.log_probability, abs=within)


# what can be given


def test_a_picture_is_the_same_in_whatever_form(
    network: CatrCaptioner, images: list[Image.Image], tmp_path: Path
) -> None:
    """A path, bytes, an image, an array of bytes or of floats, a tensor; names are those of files."""
    captioner = regard.Captioner(network)
    images[0].save(tmp_path / "a.png")
    array = np.asarray(images[0])
    forms = [
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        (tmp_path / "a.png").read_bytes(),
        images[0],
        array,
        (array / 255).astype(np.float32),
        torch.from_numpy(array.copy()).permute(2, 0, 1),
    ]
    records = [captioner(form, limit=8) for form in forms]
    assert all(isinstance(record, Caption) for record in records)
    assert [record.name for record in records[:2]] == ["a.png", "a.png"]  # type: ignore[union-attr]
    assert len(records[0].words) >= 2  # type: ignore[union-attr]
    for record in records[1:]:
        assert_same(records[0], record)  # type: ignore[arg-type]
    assert np.array_equal(np.asarray(records[3].image(100)), array)  # type: ignore[union-attr, misc]


def test_many_pictures_are_one_after_the_other(network: CatrCaptioner, images: list[Image.Image]) -> None:
    """A list, whatever the batch, and a stream of a generator; of pictures of three shapes."""
    captioner = regard.Captioner(network)
    single = [captioner(image, limit=8) for image in images]
    several = captioner(images, limit=8)
    assert isinstance(several, Captions) and len(several) == 3
    streamed = list(captioner.stream((image for image in images), limit=8, batch_size=2))
    for alone, listed, late in zip(single, several, streamed, strict=True):
        assert_same(alone, listed, within=1e-5)  # type: ignore[arg-type]
        assert_same(alone, late, within=1e-5)  # type: ignore[arg-type]
    assert [caption.maps.shape[1:] for caption in several] == [(4, 7), (7, 4), (2, 7)]
    assert len({caption.text for caption in several}) == 3, "the network must look at its pictures"


def test_a_record_is_what_the_command_writes(network: CatrCaptioner, images: list[Image.Image], tmp_path: Path) -> None:
    for name, image in zip(("a.png", "b.png", "c.png"), images, strict=True):
        image.save(tmp_path / name)
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    options: dict[str, Any] = {"limit": 8, "layer": 0, "row": "reading", "depends": True}
    records = regard.Captioner(network)(paths, **options)
    result = regard.caption(paths, tmp_path / "out", network, **options)
    assert isinstance(records, Captions)
    assert dict(records[0].settings) == dict(result.settings)
    for record, written in zip(records, result.captions, strict=True):
        assert np.array_equal(record.maps, written.maps)
        assert (record.name, record.text, record.grid) == (written.name, written.text, written.grid)
        assert record.provenance == written.provenance
        assert record.words[0].dependence is None and record.words[1].dependence is not None
        assert caption_entry(record, {})["words"][1]["depends"]["over_other"] == pytest.approx(
            record.words[1].dependence.over_other, rel=1e-5
        )


def test_a_given_caption_is_aligned(images: list[Image.Image]) -> None:
    captioner = regard.Captioner(Planted())
    record = captioner(images[0], "A CAT xyzzy naps")
    assert isinstance(record, Caption)
    assert record.text == "A CAT xyzzy naps" and record.unknown_words == ("xyzzy",)
    assert [word.text for word in record.words] == ["a", "cat", "xyzzy", "naps", "<end>"]
    assert [np.flatnonzero(word).tolist() for word in record.maps] == [[0], [1], [2], [3], [4]]
    both = captioner(images[:2], ["a cat", "naps"])
    assert [caption.text for caption in both] == ["a cat", "naps"]  # type: ignore[union-attr]
    streamed = captioner.stream(iter(images), iter(["a", "cat", "naps"]))
    assert [caption.words[0].text for caption in streamed] == ["a", "cat", "naps"]


def test_steps_say_what_else_was_likely(images: list[Image.Image]) -> None:
    record = regard.Captioner(Planted())(images[0])
    assert isinstance(record, Caption)
    assert [step.piece for step in record.steps] == list(PIECES[1:9])
    assert record.steps[3].log_probability == pytest.approx(-0.4)
    assert [piece for piece, _ in record.steps[3].alternatives] == ["##believ", "[PAD]", "a", "cat", "un"]
    assert record.words[2].steps == (2, 5) and record.words[2].log_probability == pytest.approx(-1.2)
    assert record.log_probability == pytest.approx(-3.6) and record.finished
    assert record.maps.shape == (6, ROWS, COLUMNS)


def test_records_show_themselves(images: list[Image.Image], tmp_path: Path) -> None:
    """A panel of one picture, a sheet of several; without the picture, where it is not known."""

    def size(record: Any) -> tuple[int, int]:
        return Image.open(io.BytesIO(record._repr_png_())).size

    captioner = regard.Captioner(Planted())
    one = captioner(images[0])
    several = captioner(images)
    assert size(one)[0] >= 560 and size(several)[0] >= 560
    assert size(one)[1] > size(captioner(images[0], "cat"))[1]
    images[0].save(tmp_path / "a.png")
    stored = next(regard.caption(tmp_path / "a.png", tmp_path / "out", Planted()).captions)
    assert stored.image is None and size(stored) == size(one)


def test_weights_are_hashed_once(images: list[Image.Image], monkeypatch: pytest.MonkeyPatch) -> None:
    network = Planted()
    captioner = regard.Captioner(network)
    first = captioner(images[0])
    monkeypatch.setattr(network, "weights_hash", lambda: "again")
    assert captioner(images[1]).provenance == first.provenance  # type: ignore[union-attr]
    with torch.no_grad():
        network.module.weight.add_(1)
    assert captioner(images[1]).provenance["weights_sha256"] == "again"  # type: ignore[union-attr]


# memory, threads, the network as it was


def test_a_stream_holds_no_more_than_a_batch(images: list[Image.Image]) -> None:
    opened: list[int] = []
    references: list[weakref.ref[Image.Image]] = []

    def pictures() -> Iterator[Image.Image]:
        for index in range(20):
            image = Image.new("RGB", (20, 12), (index * 12, 90, 200))
            references.append(weakref.ref(image))
            opened.append(index)
            yield image

    most = []
    for index, _ in enumerate(regard.Captioner(Varied()).stream(pictures(), batch_size=4)):
        assert len(opened) <= 4 * (index // 4 + 1)
        most.append(sum(reference() is not None for reference in references))
    assert len(most) == 20 and max(most) <= 10


@pytest.mark.parametrize("method", ["cross_attention", "grad_cross_attention"])
def test_threads_get_what_one_gets_alone(network: CatrCaptioner, images: list[Image.Image], method: str) -> None:
    """Two captioners around one network, several threads: bit for bit as one after the other, the network as it was."""
    network.module.train()
    network.module.transformer.decoder.eval()
    modes = [part.training for part in network.module.modules()]
    first = regard.Captioner(network)
    right = [first(image, limit=6, method=method) for image in images]
    records: dict[int, Caption | Captions] = {}
    start = threading.Barrier(6)

    def work(number: int) -> None:
        start.wait()
        captioner = first if number % 2 else regard.Captioner(network)
        records[number] = captioner(images[number % 3], limit=6, method=method)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [part.training for part in network.module.modules()] == modes and any(modes)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.module.modules())
    network.module.eval()
    for number, record in records.items():
        assert_same(record, right[number % 3])  # type: ignore[arg-type]
    assert len(records) == 6


def test_an_error_leaves_the_network_as_it_was(network: CatrCaptioner, images: list[Image.Image]) -> None:
    network.module.train()
    captioner = regard.Captioner(network)
    with pytest.raises(DataError, match="has no words"):
        captioner(images[:2], ["w7", " "])
    assert all(part.training for part in network.module.modules())
    network.module.eval()
    assert isinstance(captioner(images[0], "w7"), Caption)


# what cannot be done


@pytest.mark.parametrize(
    ("pictures", "captions", "options", "message"),
    [
        ([], None, {}, r"no pictures came"),
        ((image for image in ()), None, {}, r"generator.*stream"),
        ("nowhere.png", None, {}, r"there is no picture nowhere.png"),
        (np.full((20, 30, 3), 255.0), None, {}, r"floats must lie in 0..1"),
        (np.zeros((20, 30, 4), np.uint8), None, {}, r"\(20, 30, 4\).*\(height, width, 3\)"),
        (np.full((20, 30, 3), np.nan), None, {}, r"floats must lie in 0..1"),
        (torch.zeros(4, 20, 30), None, {}, r"\(4, 20, 30\).*\(3, height, width\)"),
        ("IMAGES", ["a cat"], {}, r"3 pictures came with 1 captions; give one for each"),
        ("IMAGES", None, {"method": "rollout"}, r"rollout makes maps of pictures, not of words"),
        ("IMAGES", None, {"method": "tam"}, r"tam needs a language model"),
        ("IMAGES", None, {"layer": 3}, r"there is no layer 3"),
        ("IMAGES", None, {"limit": 13}, r"a length limit of 13 tokens is out of range"),
        ("IMAGE", None, {"depends": True}, r"there is one alone; give more"),
    ],
)
def test_wrong_calls_say_what_is_wrong(
    pictures: Any, captions: Any, options: dict[str, Any], message: str, images: list[Image.Image]
) -> None:
    if isinstance(pictures, str):
        pictures = {"IMAGES": images, "IMAGE": images[0]}.get(pictures, pictures)
    with pytest.raises((UsageError, DataError), match=message) as raised:
        regard.Captioner(Planted())(pictures, captions, **options)
    assert len(str(raised.value).splitlines()) == 1


def test_a_stream_checks_its_options_at_once(images: list[Image.Image]) -> None:
    captioner = regard.Captioner(Planted())
    with pytest.raises(UsageError, match="unknown row 'read'"):
        captioner.stream(images, row="read")
    with pytest.raises(UsageError, match="give a list of pictures"):
        captioner.stream(iter(images), depends=True)
    assert len(list(captioner.stream(images, depends=True))) == 3
    with pytest.raises(DataError, match="picture 1 has the shape"):
        list(captioner.stream([images[0], np.zeros((3, 4, 5, 6))]))


def test_what_a_captioner_is_made_of() -> None:
    with pytest.raises(UsageError, match="a module alone has no vocabulary"):
        regard.Captioner(nn.Linear(1, 1))
    with pytest.raises(UsageError, match="leave device out"):
        regard.Captioner(Planted(), device="cpu")
    with pytest.raises(UsageError, match="pets-tiny is no network that can caption"):
        regard.Captioner("pets-tiny")
