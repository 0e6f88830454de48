"""Cases that all tests of captioners put in front of them, and what is checked of every one: a tiny captioner, the same
network loaded apart with attention written out, and what must be alike between them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import captioners
import pytest
import torch
from captioners import picture
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from regard.errors import NetworkError
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.networks.captioners.decoding import Decoding
from regard.networks.captioners.load import load_caption_network


@dataclass
class Case:
    """A captioner, the same network loaded apart with attention written out, and a picture of 60 × 100 pixels."""

    kind: str
    folder: Path
    captioner: CaptionNetwork
    eager: Any
    prepared: PreparedPicture
    limit: int

    def generate(self, beams: int = 1, **how: Any) -> Decoding:
        how = {"capture": Capture(None, None), "limit": self.limit, **how}
        return self.captioner.generate([self.prepared], beams=beams, **how)[0]


def case_maker(folders: pytest.TempPathFactory, limit: int) -> Callable[[str], Case]:
    """Makes the case of a kind where it is first asked for; captions end at `limit` tokens."""

    @cache
    def case(kind: str) -> Case:
        folder = getattr(captioners, kind)(folders.mktemp(kind))
        captioner = load_caption_network(str(folder))
        eager = type(captioner.module).from_pretrained(folder, attn_implementation="eager").eval()
        return Case(kind, folder, captioner, eager, captioner.prepare(picture(60, 100), "a cat"), limit)

    return case


def of_picture(case: Case, rows: Tensor) -> Tensor:
    """(..., keys) → (..., places): the picture's tokens out of the prompt's."""
    ids = case.prepared.inputs["input_ids"][0]
    return rows[..., : len(ids)][..., ids == case.captioner.image_token]  # type: ignore[attr-defined]


def on_tiles(rows: Tensor) -> Tensor:
    """Six tiles of 2 × 2 tokens, two rows of three, then the whole picture, put on 4 × 6 cells by hand."""
    grid = torch.zeros(*rows.shape[:-1], 4, 6)
    for place in range(28):
        tile, row, column = place // 4, place % 4 // 2, place % 2
        if tile < 6:
            grid[..., tile // 3 * 2 + row, tile % 3 * 2 + column] += rows[..., place]
        else:
            grid[..., 2 * row : 2 * row + 2, 3 * column : 3 * column + 3] += rows[..., place, None, None] / 6
    return grid


def near(came: Tensor, right: Tensor, within: float = 1e-5) -> None:
    assert came.shape == right.shape
    assert float((came.double() - right.double()).abs().max()) < within


def near_forced(decoding: Decoding, logits: Tensor, right: Tensor, within: float = 1e-5) -> None:
    """Probabilities and maps are those of a teacher-forced pass: its logits, its rows put on the grid."""
    steps = logits.log_softmax(-1)
    near(decoding.log_probabilities, steps.gather(1, torch.tensor(decoding.tokens)[:, None])[:, 0], 1e-4)
    near(decoding.alternative_log_probabilities, steps.topk(2).values, 1e-4)
    assert decoding.attention is not None
    near(decoding.attention, right, within)


def given(case: Case) -> Decoding:
    """A caption that is given comes back whole, with its stop."""
    tokens = tuple(case.captioner.tokenize("a small cat"))
    assert tokens[-1] in case.captioner.stops
    decoding = case.captioner.teacher_force([case.prepared], [tokens], capture=Capture(None, None), alternatives=2)[0]
    assert decoding.tokens == tokens and decoding.finished
    assert case.captioner.text(tokens) == "a small cat"
    assert case.captioner.pieces(tokens).special == (*[False] * (len(tokens) - 1), True)
    return decoding


def apart(case: Case, tokens: tuple[int, ...]) -> float:
    """How far the maps of the same caption of another picture are from those of the case's."""
    other = case.captioner.prepare(picture(60, 100, seed=1), "a cat")
    one, two = case.captioner.teacher_force([case.prepared, other], [tokens] * 2, capture=Capture(None, None))
    return float((one.attention - two.attention).abs().max())  # type: ignore[operator]


@contextmanager
def as_it_was(case: Case) -> Iterator[None]:
    """The network, put in training, is still so after what is done here, and its attention of the same kinds."""
    module = case.captioner.module
    module.train()
    configs = {id(part.config): part.config for part in module.modules() if hasattr(part, "config")}.values()
    before = [config._attn_implementation for config in configs]
    try:
        yield
        assert module.training and all(part.training for part in module.modules())
    finally:
        module.eval()
    assert [config._attn_implementation for config in configs] == before


class _Softmaxes(TorchDispatchMode):
    """Notes how many rows each softmax that is written out has."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._softmax.default:
            self.rows.append(args[0].shape[-2])
        return func(*args, **(kwargs or {}))


def softmax_rows(case: Case, **how: Any) -> list[int]:
    """The rows of each softmax that is written out while the case says its caption."""
    with _Softmaxes() as seen:
        case.generate(**how)
    return seen.rows


def on_grids(captioner: CaptionNetwork, tall: tuple[int, int], wide: tuple[int, int]) -> list[PreparedPicture]:
    """A tall and a wide picture, prepared: their grids, and those of their maps, are these."""
    found = []
    for size, grid in (((100, 60), tall), ((60, 100), wide)):
        prepared = captioner.prepare(picture(*size))
        assert (prepared.grid.rows, prepared.grid.columns) == grid and prepared.grid.picture == size
        maps = captioner.generate([prepared], limit=2, capture=Capture(2))[0].predicting
        assert maps.shape == (1, 1, 2, *grid)
        found.append(prepared)
    return found


def without(folder: Path, to: Path, *left_out: str) -> Path:
    """A copy of a captioner's folder that lacks these files."""
    to.mkdir()
    for file in folder.iterdir():
        if file.name not in left_out:
            (to / file.name).write_bytes(file.read_bytes())
    return to


def refusals(folder: Path, to: Path, *preparation: str) -> list[str]:
    """What is said where a folder lacks the vocabulary, the picture preparation (these files) or the weights."""
    said = []
    for lacking, words in (
        (("tokenizer.json", "tokenizer_config.json"), "the vocabulary of .* cannot be loaded"),
        (preparation, "the picture preparation of .* cannot be loaded"),
        (("model.safetensors",), "the weights of .* cannot be loaded"),
    ):
        with pytest.raises(NetworkError, match=words) as raised:
            load_caption_network(str(without(folder, to / str(len(said)), *lacking)))
        said.append(str(raised.value))
    return said
