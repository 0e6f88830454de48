"""Methods that show what a network looks at: one plain function each, and one row each in METHODS.

A method of kind `picture` is called as `method(network, pixels, **settings)` with pixels (batch, 3, height, width)
ready for the network, and returns maps (batch, rows, columns), float32 on the CPU. The settings that a row names are
the ones it understands.
"""

from dataclasses import dataclass

from regard.tables import Table


@dataclass(frozen=True)
class Method:
    """A row of METHODS: what a method is and needs, as data alone."""

    name: str
    kind: str  # "picture" or "word"
    target: str  # "module:function"
    description: str
    requires: tuple[str, ...]  # of "attention", "gradients", "cls", "decoder"
    settings: tuple[str, ...]  # of "layer", "head", "query", "target"
    signed: bool
    class_specific: bool
    cost: str  # in plain forward passes
    source: str  # paper and equation


METHODS = Table(
    "method",
    (
        Method(
            name="attention",
            kind="picture",
            target="regard.explanation.attention:attention",
            description="attention of CLS or a patch to the patches, at one layer, of one head or their mean",
            requires=("attention",),
            settings=("layer", "head", "query"),
            signed=False,
            class_specific=False,
            cost="1.0 forward",
            source="Dosovitskiy et al. 2021 (arXiv 2010.11929), appendix A, eq. 6",
        ),
    ),
    group="regard.methods",
)

register_method = METHODS.register
