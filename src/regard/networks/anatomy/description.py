"""The anatomy of a module, by the table of families."""

from fnmatch import fnmatchcase

from torch import nn

from regard.networks.anatomy.anatomy import Anatomy, kinds_of
from regard.networks.anatomy.families import FAMILIES, timm_head


def describe(module: nn.Module) -> Anatomy:
    """The anatomy of a network; that of an unknown one is empty, apart from a head that timm declares."""
    kinds = kinds_of(module)
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
        positions=family.positions if family.positions in dict(module.named_parameters()) else None,
        positions_prefix=family.positions_prefix(module),
        head=family.head(module),
        switches=family.switches,
        tupled=family.tupled,
        inputs=family.inputs,
    )


def _first(paths: dict[str, str], patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The paths of the first pattern that has any, in the order of the network, which is that of its layers."""
    for pattern in filter(None, patterns):
        depth = pattern.count(".")  # fnmatch's * would match a dot too
        matches = [real for path, real in paths.items() if path.count(".") == depth and fnmatchcase(path, pattern)]
        if matches:
            return tuple(matches)
    return ()
