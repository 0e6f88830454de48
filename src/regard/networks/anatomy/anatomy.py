"""Where a network has its blocks, its attention, its patches, its positions and its head, and a row of the families.

The one declared table is `families.FAMILIES`: a row says how a family of networks is recognised and where its parts
lie. What a network of no row is made of is never guessed at: a wrong map is worse than none.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

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
    that must have these values while regard reads it. `tupled` blocks give a tuple. `inputs` makes the module's own
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

    def inside(self, path: str) -> Self:
        """The anatomy of the module that has this network at `path`; its head is not known."""
        return replace(
            self,
            attentions=tuple(f"{path}.{name}" for name in self.attentions),
            blocks=tuple(f"{path}.{name}" for name in self.blocks),
            positions=None if self.positions is None else f"{path}.{self.positions}",
            head=None,
            inputs=None,
        )

    def grid(self, height: int, width: int) -> Pair:
        """(rows, columns) of patches in an input of this size. Only for networks with patches."""
        down, across = self.patch or (height, width)
        if self.edge == "padded":
            return -(-height // down), -(-width // across)
        return height // down, width // across


def fixed(value: Any) -> Callable[[nn.Module], Any]:
    """A reader that gives the same for every network."""
    return lambda module: value


_ONE = fixed(1)
_YES = fixed(True)
_NO = fixed(False)
_CLS = fixed("cls")
_DROPPED = fixed("dropped")


@dataclass(frozen=True)
class Family:
    """A row: networks whose class, or a parent of it, is `kind` ("module.Class").

    `attentions` are patterns of paths in which `*` is a number, of which the first that any path fits holds; `more` are
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


def kinds_of(module: nn.Module) -> tuple[str, ...]:
    """The full names of a module's class and of its parents, nearest first."""
    return tuple(f"{kind.__module__}.{kind.__qualname__}" for kind in type(module).__mro__)


def kind_of(module: nn.Module) -> str:
    """The full name of a module's class."""
    return kinds_of(module)[0]


def pair(size: Any) -> Pair:
    """A size as one number or two, as a pair."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return int(height), int(width)
