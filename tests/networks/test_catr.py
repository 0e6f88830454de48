"""CATR: the original's numbers, captions token by token against the slow way, and geometry."""

import itertools
import math
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import catr_twin
import numpy as np
import pytest
import skimage.data
import torch
from catr_twin import SMALL, padded, pictures, small_catr
from PIL import Image
from torch import Tensor

from regard.data.images.longest_side import LongestSide, alike, stack
from regard.errors import DataError, NetworkError, UsageError
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.decoding import Decoding, _Search, beam_search, greedy, teacher_force
from regard.networks.captioners.families.catr import Catr, CatrShape, grid_of, load_catr
from regard.networks.captioners.transformer import Memory

ALL = Capture(None, None)
SIZE = (70, 101)
ROWS, COLUMNS = 5, 7


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.stack(pictures(*[SIZE] * 4))


@pytest.fixture(scope="module")
def catr(pixels: Tensor) -> Catr:
    return small_catr(pixels)


@pytest.fixture(scope="module")
def memory(catr: Catr, pixels: Tensor) -> Memory:
    with torch.no_grad():
        return catr.encode(pixels)


def near(came: Tensor, right: Tensor, within: float = 1e-4) -> None:
    assert came.shape == right.shape
    assert float((came.detach().double() - right.double()).abs().max()) < within


def as_the_twin(catr: Catr, picture: Tensor, decoding: Decoding, mask: Tensor | None = None) -> None:
    """Probabilities and maps of a caption are those of the slow way that is made to say it."""
    count = len(decoding.tokens)
    twin = catr_twin.run(catr, picture[None], padded(catr, decoding.tokens), mask)
    steps = twin.logits[0, :count].log_softmax(-1)
    near(decoding.log_probabilities, steps.gather(1, torch.tensor(decoding.tokens)[:, None])[:, 0])
    near(decoding.alternative_log_probabilities, steps.topk(3).values)
    near(decoding.predicting.flatten(-2), twin.maps(0, count))
    near(decoding.reading.flatten(-2), twin.maps(0, count + 1)[:, :, 1:])
    near(decoding.reading.sum((-2, -1)), torch.ones(SMALL.decoder_layers, SMALL.heads, count))


def equal(came: Decoding, right: Decoding) -> None:
    assert came.tokens == right.tokens and came.finished == right.finished
    near(came.log_probabilities, right.log_probabilities)
    near(came._captured(), right._captured(), 1e-5)


# the original's numbers


@pytest.fixture(scope="module")
def golden(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Catr, dict[str, np.ndarray]]:
    """The full network, read from a file as the public ones are, and what the original computed with it."""
    sys.path.insert(0, str(shared / "golden"))
    from fill import fill

    layout = [line.split("\t") for line in (shared / "golden" / "catr_layout.tsv").read_text().splitlines()[1:]]
    shapes = {name: tuple(map(int, shape.split("x"))) for name, shape, _ in layout}
    path = tmp_path_factory.mktemp("golden") / "weights.pth"
    torch.save({"model": {name: torch.from_numpy(fill(name, shape)) for name, shape in shapes.items()}}, path)
    catr, messages = load_catr(path)
    path.unlink()
    assert messages == ("took the weights under 'model' of the checkpoint",)
    assert {name: tuple(tensor.shape) for name, tensor in catr.state_dict().items()} == shapes
    return catr, dict(np.load(shared / "golden" / "catr.npz"))


@pytest.mark.shared
def test_golden_parity(golden: tuple[Catr, dict[str, np.ndarray]]) -> None:
    catr, right = golden
    picture = LongestSide().tensor(Image.fromarray(skimage.data.chelsea()))
    assert np.abs(picture.numpy() - right["input"]).max() < 1e-6
    with torch.no_grad():
        memory = catr.encode(picture[None])
        logits = catr.decode(torch.from_numpy(right["tokens"][None, :-1]), memory)
    assert np.abs(logits[0, :, :2048].numpy() - right["logits"]).max() < 1e-4
    assert logits[0].argmax(-1).tolist() == right["logits_argmax"].tolist()
    [decoding] = greedy(catr, memory, limit=12, capture=ALL)
    assert decoding.tokens == tuple(right["tokens"][1:])
    maps = decoding.predicting.mean(1).flatten(-2).numpy()
    assert np.abs(maps - right["cross_attention"]).max() < 1e-5
    assert (memory.rows, memory.columns) == (13, 19)
    [forced] = teacher_force(catr, memory, [decoding.tokens], capture=ALL)
    near(forced.predicting, decoding.predicting, 1e-5)


# token by token


def test_the_small_network_is_awake(catr: Catr, pixels: Tensor, memory: Memory) -> None:
    decodings = greedy(catr, memory, capture=ALL)
    assert len({decoding.tokens for decoding in decodings}) == len(pixels)
    assert min(len(set(decoding.tokens)) for decoding in decodings) > 4
    assert {decoding.finished for decoding in decodings} == {True, False}
    assert min(float(decoding.predicting.amax((1, 2, 3, 4)).min()) for decoding in decodings) > 0.3


def test_greedy_is_the_original_way(catr: Catr, pixels: Tensor, memory: Memory) -> None:
    decodings = greedy(catr, memory, capture=ALL, alternatives=3)
    slow = catr_twin.greedy(catr, pixels, catr.limit)
    for picture, decoding, tokens in zip(pixels, decodings, slow, strict=True):
        assert list(decoding.tokens) == tokens[: len(decoding.tokens)]
        assert decoding.finished == (catr.stop in tokens)
        assert decoding.alternatives[:, 0].tolist() == list(decoding.tokens)
        as_the_twin(catr, picture, decoding)


def test_greedy_with_cache_is_teacher_forcing_without(catr: Catr, memory: Memory) -> None:
    decodings = greedy(catr, memory, capture=ALL, alternatives=3)
    forced = teacher_force(catr, memory, [decoding.tokens for decoding in decodings], capture=ALL, alternatives=3)
    for came, right in zip(decodings, forced, strict=True):
        equal(came, right)
        assert torch.equal(came.alternatives, right.alternatives)


def test_capturing_changes_nothing_and_is_only_done_on_request(catr: Catr, memory: Memory) -> None:
    plain = greedy(catr, memory)
    assert [each.tokens for each in plain] == [each.tokens for each in greedy(catr, memory, capture=ALL)]
    assert plain[0].attention is None and plain[0].alternatives.shape == (len(plain[0].tokens), 0)
    with pytest.raises(UsageError, match="capture=Capture"):
        _ = plain[0].predicting


def test_a_batch_is_as_one_by_one(catr: Catr, pixels: Tensor, memory: Memory) -> None:
    for run in (greedy, lambda *args, **how: beam_search(*args, 3, **how)):
        together = run(catr, memory, capture=ALL)
        for picture, decoding in zip(pixels, together, strict=True):
            with torch.no_grad():
                alone = catr.encode(picture[None])
            equal(decoding, run(catr, alone, capture=ALL)[0])


def test_padded_pictures_keep_their_own_patches(catr: Catr) -> None:
    given = pictures((70, 101), (70, 64), (40, 101))
    pixels, mask = stack(given, padded=True)
    with torch.no_grad():
        memory = catr.encode(pixels, mask)
    assert memory.shapes == ((5, 7), (5, 5), (3, 7))
    tokens = catr_twin.greedy(catr, pixels, 6, mask)
    for index, decoding in enumerate(greedy(catr, memory, limit=6, capture=ALL, alternatives=3)):
        assert decoding._captured().shape[-2:] == memory.shapes[index]
        assert list(decoding.tokens) == tokens[index][: len(decoding.tokens)]
        twin = catr_twin.run(catr, pixels[index, None], padded(catr, decoding.tokens), mask[index, None])
        whole = twin.maps(0, len(decoding.tokens) + 1).unflatten(-1, (ROWS, COLUMNS))
        rows, columns = memory.shapes[index]
        near(decoding._captured(), whole[..., :rows, :columns])
        near(decoding._captured().sum((-2, -1)), torch.ones(3, 4, len(decoding.tokens) + 1))


def test_the_length_limit_is_said(catr: Catr, memory: Memory) -> None:
    whole = greedy(catr, memory)
    assert max(len(decoding.tokens) for decoding in whole) == catr.limit == SMALL.positions - 1
    limit = min(len(decoding.tokens) for decoding in whole)
    cut = greedy(catr, memory, limit=limit, capture=ALL)
    assert [decoding.tokens for decoding in cut] == [decoding.tokens[:limit] for decoding in whole]
    assert [decoding.finished for decoding in cut] == [len(decoding.tokens) == limit for decoding in whole]
    assert CatrShape().positions - 1 == 127


def test_given_captions_of_several_lengths(catr: Catr, pixels: Tensor, memory: Memory) -> None:
    captions = [(5,), (7, 8, 102), tuple(range(9, 9 + catr.limit)), (102,)]
    for picture, decoding in zip(
        pixels, teacher_force(catr, memory, captions, capture=ALL, alternatives=3), strict=True
    ):
        as_the_twin(catr, picture, decoding)
        assert decoding.finished == (decoding.tokens[-1] == 102)


@pytest.mark.parametrize(
    ("captions", "match"),
    [
        ([(5,), (), (5,), (5,)], "caption 1 has 0 tokens"),
        ([(5,) * 24, (5,), (5,), (5,)], "caption 0 has 24 tokens; there may be 1 to 23"),
        ([(5,), (5,), (5,), (5, 200)], "caption 3 has the token 200"),
        ([(5,)], "1 captions came for 4 pictures"),
    ],
)
def test_captions_that_cannot_be_said(catr: Catr, memory: Memory, captions: list, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        teacher_force(catr, memory, captions)


def test_numbers_out_of_range(catr: Catr, memory: Memory) -> None:
    for how in ({"limit": 0}, {"limit": 24}, {"alternatives": -1}, {"alternatives": 201}):
        with pytest.raises(UsageError, match="out of range"):
            greedy(catr, memory, **how)
    with pytest.raises(UsageError, match="at least 1"):
        beam_search(catr, memory, 0)
    with pytest.raises(UsageError, match="too long"):
        catr.decode(torch.ones(4, 25, dtype=torch.long), memory)


def test_values_that_are_no_numbers_are_an_error(catr: Catr, pixels: Tensor) -> None:
    with torch.no_grad():
        memory = catr.encode(pixels[:1] * math.nan)
    for say in (
        lambda: greedy(catr, memory),
        lambda: beam_search(catr, memory, 2),
        lambda: teacher_force(catr, memory, [(5,)]),
    ):
        with pytest.raises(NetworkError, match="NaN"):
            say()


def test_the_network_is_left_as_it_was_found(catr: Catr, memory: Memory) -> None:
    right = greedy(catr, memory)[0].tokens
    catr.train()
    catr.mlp.eval()
    try:
        assert greedy(catr, memory)[0].tokens == right
        beam_search(catr, memory, 2)
        assert catr.training and catr.transformer.decoder.layers[0].training and not catr.mlp.training
    finally:
        catr.eval()
    assert all(parameter.grad is None for parameter in catr.parameters())


def test_training_gives_gradients_and_drops(catr: Catr, pixels: Tensor) -> None:
    tokens = torch.tensor([[101, 5, 6, 7]])
    near(catr(pixels[:1], tokens), catr_twin.run(catr, pixels[:1], padded(catr, (5, 6, 7))).logits[:, :4], 1e-3)
    called: list[str] = []
    drops = [part for part in catr.named_modules() if part[0].endswith("dropout")]
    hooks = [part.register_forward_hook(lambda *_, name=name: called.append(name)) for name, part in drops]
    catr.train()
    try:
        catr(pixels[:1], tokens)
        counts = Counter(name.split(".")[1] for name in called)
        assert counts == {"embeddings": 1, "encoder": 3 * SMALL.encoder_layers, "decoder": 4 * SMALL.decoder_layers}
        first, second = (catr(pixels[:1], tokens) for _ in range(2))
        assert not torch.allclose(first, second)
        first.sum().backward()
        assert all(part.grad is not None for part in catr.parameters())
    finally:
        catr.eval().zero_grad()
        for hook in hooks:
            hook.remove()


# beams


def test_beam_maps_follow_the_beams(catr: Catr, pixels: Tensor, memory: Memory) -> None:
    for beams in (2, 5):
        decodings = beam_search(catr, memory, beams, capture=ALL, alternatives=3)
        assert [each.tokens for each in decodings] != [each.tokens for each in greedy(catr, memory)]
        for picture, decoding in zip(pixels, decodings, strict=True):
            as_the_twin(catr, picture, decoding)


def test_one_beam_is_greedy(catr: Catr, memory: Memory) -> None:
    assert [each.tokens for each in beam_search(catr, memory, 1)] == [each.tokens for each in greedy(catr, memory)]


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("beams", [2, 3, 5])
def test_beams_are_those_of_a_search_that_remembers_nothing(
    catr: Catr, pixels: Tensor, memory: Memory, beams: int, penalty: float
) -> None:
    found = [decoding.tokens for decoding in beam_search(catr, memory, beams, penalty=penalty)]
    assert found == [catr_twin.beam_search(catr, picture, beams, penalty) for picture in pixels]


def test_a_search_that_is_done_stays_done() -> None:
    """By hand: the stop has -1 / 1; the one beam that is left has -1.5 / 1 then, and -1.6 / 2 later."""
    search = _Search(beams=1, penalty=1.0, stop=2)
    assert search.advance([(-1.0, 0, 2), (-1.5, 0, 5)]) == [0]
    assert search.done
    search.advance([(-1.6, 0, 6), (-1.7, 0, 2)])
    assert search.done and search.best() == (2,)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_enough_beams_find_the_best_of_all_captions(penalty: float) -> None:
    shape = replace(SMALL, vocabulary=7, start=1, stop=2, positions=6)
    torch.manual_seed(4)
    catr = Catr(shape).eval()
    with torch.no_grad():
        catr.mlp.layers[2].weight *= 60
        memory = catr.encode(pictures((48, 33))[0][None])
        whole = torch.tensor([(1, *caption) for caption in itertools.product(range(7), repeat=4)])
        steps = catr.decode(whole, memory).double().log_softmax(-1)
    scores: dict[tuple[int, ...], float] = {}
    for row, caption in enumerate(whole[:, 1:].tolist()):
        end = caption.index(2) + 1 if 2 in caption else 4
        total = sum(float(steps[row, place, token]) for place, token in enumerate(caption[:end]))
        scores[tuple(caption[:end])] = total / end**penalty
    best = max(scores, key=lambda caption: scores[caption])
    assert beam_search(catr, memory, 7**4, limit=4, penalty=penalty)[0].tokens == best


# pictures


@pytest.mark.parametrize(
    ("size", "came"),
    [
        *(((300, 451), (198, 299)), ((451, 300), (299, 198)), ((20, 10), (299, 149)), ((299, 299), (299, 299))),
        *(((275, 100), (298, 108)), ((1100, 550), (298, 149)), ((299, 1), (299, 1))),
    ],
)
def test_both_sides_are_truncated_as_the_source_does(size: tuple[int, int], came: tuple[int, int]) -> None:
    assert LongestSide().size(size) == came
    scaled = (np.array(size[::-1], dtype=np.float64) * (299 / max(size))).astype(int)
    assert tuple(scaled[::-1]) == came


def test_a_picture_too_thin_is_refused_and_one_thinner_than_a_patch_is_not(catr: Catr) -> None:
    with pytest.raises(DataError, match="too thin"):
        LongestSide().tensor(Image.new("RGB", (3, 1000)))
    picture = LongestSide().tensor(Image.new("RGB", (4, 300), (200, 0, 0)))
    assert picture.shape == (3, 299, 3)
    with torch.no_grad():
        memory = catr.encode(picture[None])
    assert greedy(catr, memory, limit=2, capture=ALL)[0]._captured().shape == (3, 4, 3, 19, 1)
    assert not np.isnan(grid_of(LongestSide(), (300, 4), 19, 1).to_picture(np.ones((19, 1)))).any()


def test_only_pictures_of_one_shape_go_together_unless_asked() -> None:
    given = pictures((32, 48), (48, 32))
    with pytest.raises(UsageError, match=r"2 shapes.*padded=True"):
        stack(given)
    pixels, mask = stack(given, padded=True)
    assert pixels.shape == (2, 3, 48, 48) and mask is not None
    assert (~mask).sum((1, 2)).tolist() == [32 * 48, 48 * 32] and float(pixels[0, :, 32:].abs().max()) == 0
    assert stack(given[:1])[1] is None
    assert alike([(1, 2), (2, 1), (1, 2), (1, 2)], 2) == [[0, 2], [3], [1]]
    for wrong in (lambda: stack([]), lambda: stack([pixels]), lambda: alike([(1, 1)], 0), lambda: LongestSide(0)):
        with pytest.raises(UsageError):
            wrong()
    with pytest.raises(DataError, match="mode L"):
        LongestSide().tensor(Image.new("L", (9, 9)))


def test_a_patch_lies_where_it_looks(catr: Catr) -> None:
    """The pixels that move a patch's features are centred where its cell is, in a user's picture twice as large."""
    grid = grid_of(LongestSide(232), (326, 464), 11, 15)
    off = []
    for seed, (row, column) in enumerate(((5, 3), (4, 9), (6, 12), (5, 7), (4, 5), (6, 9))):
        noise = torch.randn(1, 3, 163, 232, generator=torch.Generator().manual_seed(seed)).requires_grad_()
        features = catr.input_proj(catr.backbone(noise))
        assert features.shape[2:] == (grid.rows, grid.columns)
        y, x = _centre(_energy(features[0, :8, row, column], noise))
        left, top, right, bottom = grid.cell(row, column)
        off.append((2 * x - (left + right) / 2, 2 * y - (top + bottom) / 2))
        assert grid.cell_at(2 * x, 2 * y) == (row, column)
    assert np.abs(np.mean(off, axis=0)).max() < 1  # pixels of the user's; a patch has 32


def _energy(values: Tensor, pixels: Tensor) -> np.ndarray:
    """(height, width): how much each pixel moves the values."""
    gradients = [torch.autograd.grad(value, pixels, retain_graph=True)[0][0] for value in values]
    return torch.stack(gradients).square().sum((0, 1)).numpy()


def _centre(energy: np.ndarray) -> tuple[float, float]:
    """The centre of mass as (y, x), where a pixel's own centre lies at half."""
    down, across = energy.sum(1) / energy.sum(), energy.sum(0) / energy.sum()
    return float(down @ (np.arange(len(down)) + 0.5)), float(across @ (np.arange(len(across)) + 0.5))


def test_a_map_covers_the_whole_picture_whatever_its_size() -> None:
    for height, width in itertools.product((8, 16, 17, 163, 198, 232, 299), repeat=2):
        rows, columns = math.ceil(height / 16), math.ceil(width / 16)
        preparation = LongestSide(max(height, width))
        if preparation.size((height, width)) != (height, width):
            continue
        grid = grid_of(preparation, (height, width), rows, columns)
        assert not np.isnan(grid.to_picture(np.ones((rows, columns)))).any()
        for patches, index in ((rows, 1), (columns, 0)):
            middles = [(grid.cell(n, n)[index] + grid.cell(n, n)[index + 2]) / 2 for n in range(patches)]
            assert max(abs(middle - 16 * n - 0.5) for n, middle in enumerate(middles)) < 8


def test_width_and_height_are_not_swapped() -> None:
    """A spot at the upper right of a wide picture, and of that picture turned over, is found where it is."""
    torch.manual_seed(0)
    catr = Catr(replace(SMALL, encoder_layers=0)).eval()  # what a patch holds is then its own part of the picture
    wide = torch.zeros(3, 96, 208)
    wide[:, 28:40, 156:168] = torch.tensor([1.0, -1.0, 1.0])[:, None, None]
    for picture, (y, x) in ((wide, (34, 162)), (wide.transpose(1, 2), (162, 34))):
        with torch.no_grad():
            memory, blank = catr.encode(picture[None]), catr.encode(torch.zeros_like(picture)[None])
        changed = (memory.values[0] - blank.values[0]).square().sum((0, 1, 3))
        grid = grid_of(LongestSide(208), picture.shape[1:], memory.rows, memory.columns)
        assert (grid.rows, grid.columns) == (picture.shape[1] // 16, picture.shape[2] // 16)
        row, column = _centre(grid.fold(changed.numpy()))
        assert abs(row - 0.5 - (y - 0.5) / 16) < 0.7 and abs(column - 0.5 - (x - 0.5) / 16) < 0.7
        assert greedy(catr, memory, limit=1, capture=ALL)[0].predicting.shape[-2:] == (grid.rows, grid.columns)


def test_pictures_and_masks_of_another_shape_are_refused(catr: Catr) -> None:
    for pixels, mask in ((torch.zeros(3, 32, 48), None), (torch.zeros(1, 3, 32, 48), torch.zeros(1, 48, 32))):
        with pytest.raises(UsageError, match="came"):
            catr.encode(pixels, mask)
    with pytest.raises(UsageError, match="multiple of 4"):
        CatrShape(width=30, heads=4)
