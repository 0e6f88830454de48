"""Where a network keeps its blocks, its attention, its patches, its positions and its head.

The one declared table is `families.FAMILIES`: a row says how a family of networks is recognised and where its parts
lie. What a network of no row is made of is not known, and never guessed at: a wrong map is worse than none.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

Pair = tuple[int, int]
Inputs = Callable[[Any, Tensor], dict[str, Any]]


@dataclass(frozen=True)
class Anatomy:
    """Where the parts of one network are; paths are as in `module.get_submodule`.

    `attentions` has one path per layer, of which the last `readers` have a query of their own instead of every token's
    (class attention, pooling by attention); `blocks` has those of the residual blocks. `prefix` counts the tokens
    before the patches, `cls` says whether the first of them is a class token. The head `reads` "cls", "patches" (their
    average), or "pool" (their pooling by attention). `patch` is (height, width) in pixels; `size` the (height, width)
    the network was built for, None where it takes any (`flexible` where it also has a size it was built for); pixels at
    the `edge` that make no whole patch are "dropped", "padded" to one, or "refused". `positions` names the parameter of
    positional embeddings, of which `positions_prefix` are not patches. `switches` are attributes of its configuration
    that must have these values while regard looks. `tupled` blocks give a tuple. `inputs` makes the module's own
    arguments of pictures, where it does not take them as they are. `family` is None, and nothing else is known, where
    no row recognises the network.
    """

    family: str | None = None
    attentions: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    readers: int = 0
    prefix: int = 0
    cls: bool = False
    reads: str = "cls"
    patch: Pair | None = None
    size: Pair | None = None
    flexible: bool = False
    edge: str = "dropped"
    positions: str | None = None
    positions_prefix: int = 0
    head: str | None = None
    switches: tuple[tuple[str, Any], ...] = ()
    tupled: bool = False
    inputs: Inputs | None = field(default=None, compare=False)

    def block_of(self, layer: int) -> str | None:
        """The block that a layer is in; layers side by side share one, and a pooling is in none."""
        path = f"{self.attentions[layer]}."
        return next((block for block in self.blocks if path.startswith(f"{block}.")), None)

    def grid(self, height: int, width: int) -> Pair:
        """(rows, columns) of patches in an input of this size. Only for networks with patches."""
        down, across = self.patch or (height, width)
        if self.edge == "padded":
            return -(-height // down), -(-width // across)
        return height // down, width // across


def fixed(value: Any) -> Callable[[nn.Module], Any]:
    """A reader that gives the same for every network."""
    return lambda module: value


_ONE, _YES, _NO, _CLS, _DROPPED = fixed(1), fixed(True), fixed(False), fixed("cls"), fixed("dropped")


@dataclass(frozen=True)
class Family:
    """A row: networks whose class, or a parent of it, is `kind` ("module.Class").

    `attentions` are patterns of paths in which `*` is a number, of which the first that is there holds; `more` are
    those of attention layers behind them (class attention), `pool` that of the pooling. The readers take the network.
    """

    name: str
    kind: str
    attentions: tuple[str, ...]
    blocks: tuple[str, ...]
    patch: Callable[[nn.Module], Pair | None]
    size: Callable[[nn.Module], Pair | None]
    head: Callable[[nn.Module], str | None]
    prefix: Callable[[nn.Module], int] = _ONE
    cls: Callable[[nn.Module], bool] = _YES
    reads: Callable[[nn.Module], str] = _CLS
    flexible: Callable[[nn.Module], bool] = _NO
    edge: Callable[[nn.Module], str] = _DROPPED
    more: str | None = None
    pool: str | None = None
    positions: str | None = None
    positions_prefix: Callable[[nn.Module], int] = _ONE
    switches: tuple[tuple[str, Any], ...] = ()
    tupled: bool = False
    inputs: Inputs | None = None


def describe(module: nn.Module) -> Anatomy:
    """The anatomy of a network; that of an unknown one is empty, apart from a head that timm declares."""
    from regard.networks.anatomy.families import FAMILIES, timm_head  # its rows are of the types above

    kinds = _kinds(module)
    family = next((row for row in FAMILIES if row.kind in kinds), None)
    if family is None:
        return Anatomy(head=timm_head(module) if hasattr(module, "pretrained_cfg") else None)
    paths = {path.replace("._orig_mod", ""): path for path, _ in module.named_modules()}  # torch.compile wraps parts
    readers = (*_first(paths, (family.more or "",)), *_first(paths, (family.pool or "",)))
    return Anatomy(
        family=family.name,
        attentions=(*_first(paths, family.attentions), *readers),
        blocks=(*_first(paths, family.blocks), *_first(paths, ((family.more or "").rpartition(".")[0],))),
        readers=len(readers),
        prefix=family.prefix(module),
        cls=family.cls(module),
        reads=family.reads(module),
        patch=family.patch(module),
        size=family.size(module),
        flexible=family.flexible(module),
        edge=family.edge(module),
        positions=_present(module, family.positions),
        positions_prefix=family.positions_prefix(module),
        head=family.head(module),
        switches=family.switches,
        tupled=family.tupled,
        inputs=family.inputs,
    )


def _kinds(module: nn.Module) -> set[str]:
    return {f"{kind.__module__}.{kind.__qualname__}" for kind in type(module).__mro__}


def kind_of(module: nn.Module) -> str:
    """The full name of a module's class."""
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _first(paths: dict[str, str], patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The paths of the first pattern that has any, in the order of the network, which is that of its layers."""
    for pattern in filter(None, patterns):
        found = tuple(real for path, real in paths.items() if _matches(path, pattern))
        if found:
            return found
    return ()


def _matches(path: str, pattern: str) -> bool:
    return path.count(".") == pattern.count(".") and fnmatchcase(path, pattern)


def _present(module: nn.Module, path: str | None) -> str | None:
    """`path` where the network has such a parameter with a value."""
    parameters = dict(module.named_parameters())
    return path if path in parameters else None


def positions_of(module: nn.Module, anatomy: Anatomy) -> Tensor | None:
    """(rows, columns, d): the positional embeddings of the patches, CLS and other prefix tokens left out."""
    if anatomy.positions is None or anatomy.size is None:
        return None
    embedding = module.get_parameter(anatomy.positions).detach()
    embedding = embedding.reshape(-1, embedding.shape[-1])[anatomy.positions_prefix :]
    rows, columns = anatomy.grid(*anatomy.size)
    if rows * columns != len(embedding):
        return None
    return torch.unflatten(embedding, 0, (rows, columns))
