"""Methods that show what a network looks at: one plain function each, and one row each in METHODS.

A method of kind `picture` is called as `method(network, pixels, **settings)` with pixels (batch, 3, height, width)
ready for the network, and returns maps (batch, rows, columns), float32 on the CPU, or `Maps`, which also say of which
class they are. Rows and columns are the network's patches or finer, up to one value a pixel. The settings that a row
names are the ones it understands.

One of kind `word` is called as `method(captioner, picture, tokens, **settings)` with a prepared picture and the tokens
of a finished caption, and returns a map for every token: (tokens, rows, columns) float32.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from regard.errors import unknown
from regard.registry import Described, Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from regard.records import Completeness

Target = int | tuple[int, int] | None
"""A class index; (for, against), the contrast of two; or None: in what a user gives the predicted class, in a result
that the map is of no class."""


@dataclass(frozen=True)
class Maps:
    """What a method gives: `values` (batch, rows, columns) float32, the class each is of, for methods that sample the
    standard `error` of each value, where the method came by it the class `predicted` of each picture and, of a method
    whose row says what its parts sum to, the `completeness` of each map."""

    values: "NDArray[np.float32]"
    targets: tuple[Target, ...]
    error: "NDArray[np.float32] | None" = None
    predicted: tuple[int, ...] | None = None
    completeness: "tuple[Completeness, ...] | None" = None


@dataclass(frozen=True)
class MethodSettings:
    """All settings that methods for pictures have, None where left out; each method takes those that its row names.

    `layer`, `head` and `start`, the first layer that counts, are from 0. `query` is "CLS" or (row, column) of a patch,
    "ROW,COLUMN" as text. `target`, a class by name or index, is by default the predicted one; `against` is one that it
    is held against. `steps` are those of an integral, `samples` how many are drawn.
    """

    layer: int | None = None
    head: int | None = None
    query: str | tuple[int, int] = "CLS"
    start: int | None = None
    target: str | int | None = None
    against: str | int | None = None
    steps: int | None = None
    samples: int | None = None
    seed: int = 0


@dataclass(frozen=True, repr=False)
class Method(Described):
    """A row of METHODS: what a method is and needs, as data alone."""

    name: str
    kind: str  # "picture" or "word"
    target: str  # "module:function"
    description: str
    requires: tuple[str, ...]  # of "attention", "gradients", "blocks", "decoder", "picture tokens"
    settings: tuple[str, ...]  # of `MethodSettings`, but "against"; of methods for words also "row"
    signed: bool
    class_specific: bool
    cost: float  # in plain forward passes, a picture or what `cost_per` says
    source: str  # paper and equation
    cost_per: str = ""  # "patch" or "patch and sample" where the cost grows with them
    sums_to: str = ""  # what map and rest sum to, y being the logit; "" where the method claims no such thing
    reduced: bool = False  # whether its maps hold in bfloat16 (docs/benches.md); if not, it computes in float32

    @property
    def price(self) -> str:
        """The cost in words: "2.2", "0.9 a patch and sample"."""
        return f"{self.cost:g} a {self.cost_per}" if self.cost_per else str(self.cost)


METHODS = Table(
    "method",
    (
        # Attention as it was computed: nearly free, and of no class.
        Method(
            name="attention",
            kind="picture",
            target="regard.explanation.pictures.attention:attention",
            description="attention of CLS, a patch or the pooling to the patches: one layer, a head or their mean",
            requires=("attention",),
            settings=("layer", "head", "query"),
            signed=False,
            class_specific=False,
            cost=1.0,
            source="Dosovitskiy et al. 2021 (arXiv 2010.11929), appendix A, eq. 6",
            reduced=True,
        ),
        Method(
            name="rollout",
            kind="picture",
            target="regard.explanation.pictures.attention:rollout",
            description="attention of all layers multiplied, half of each token staying where it is",
            requires=("attention",),
            settings=("query", "start"),
            signed=False,
            class_specific=False,
            cost=1.1,
            source="Abnar and Zuidema 2020 (arXiv 2005.00928), section 3",
            reduced=True,
        ),
        # Attention and its gradient: of a class, for the price of a backward to the first layer that is used.
        Method(
            name="grad_attention",
            kind="picture",
            target="regard.explanation.pictures.relevance:grad_attention",
            description="attention weighted by its gradient, what helps the class alone, carried through all layers",
            requires=("attention", "gradients"),
            settings=("target", "start"),
            signed=False,
            class_specific=True,
            cost=2.2,
            source="Chefer, Gur and Wolf 2021 (arXiv 2103.15679), eq. 5 and 6",
            reduced=True,
        ),
        Method(
            name="transition",
            kind="picture",
            target="regard.explanation.pictures.relevance:transition",
            description="attention by the length of what it carries, times integrated gradients of the last attention",
            requires=("attention", "gradients", "blocks"),
            settings=("target", "start", "steps"),
            signed=False,
            class_specific=True,
            cost=23,
            source="Chen et al. 2023 (Beyond Intuition, TMLR, OpenReview rm0zIzlhcX), token-wise",
        ),
        Method(
            name="legrad",
            kind="picture",
            target="regard.explanation.pictures.relevance:legrad",
            description="what more attention would add to the class in the last blocks, as each one's tokens say it",
            requires=("attention", "gradients", "blocks"),
            settings=("target", "start"),
            signed=False,
            class_specific=True,
            cost=1.2,
            source="Bousselham et al. 2024 (LeGrad, arXiv 2404.03214), section 3",
            reduced=True,
        ),
        # Gradients that may be checked: their parts sum to the logit, or the method refuses.
        Method(
            name="libra_fullgrad",
            kind="picture",
            target="regard.explanation.pictures.libra:libra_fullgrad",
            description="tokens and biases times their gradients in a backward pass whose parts sum to the logit",
            requires=("gradients", "blocks"),
            settings=("target",),
            signed=True,
            class_specific=True,
            cost=2.2,
            source="Mehri et al. 2024 (LibraGrad, arXiv 2411.16760), definition 1 and section 3.5",
            sums_to="y(picture)",
            reduced=True,
        ),
        Method(
            name="libra_fullgrad_plus",
            kind="picture",
            target="regard.explanation.pictures.libra:libra_fullgrad_plus",
            description="tokens of all blocks and biases times gradients, by libra_fullgrad's rules; not complete",
            requires=("gradients", "blocks"),
            settings=("target",),
            signed=True,
            class_specific=True,
            cost=2.2,
            source="Mehri et al. 2024 (LibraGrad, arXiv 2411.16760), FullGrad+",
            reduced=True,
        ),
        Method(
            name="dave",
            kind="picture",
            target="regard.explanation.pictures.dave:dave",
            description="pixels times gradients by libra_fullgrad's rules, over shifts and rotations; a value a pixel",
            requires=("gradients", "blocks"),
            settings=("target", "samples", "seed"),
            signed=True,
            class_specific=True,
            cost=115,
            source="Wróbel et al. 2026 (DAVE, arXiv 2602.06613)",
        ),
        # What a patch's token says by itself.
        Method(
            name="logit_lens",
            kind="picture",
            target="regard.explanation.pictures.logit_lens:logit_lens",
            description="what a patch's token alone would be read as behind a layer: the class's probability",
            requires=("blocks",),
            settings=("layer", "target"),
            signed=False,
            class_specific=True,
            cost=1.1,
            source="nostalgebraist 2020, the logit lens; of patches: a token through the final norm and head",
        ),
        Method(
            name="direct_logit",
            kind="picture",
            target="regard.explanation.pictures.direct_logit:direct_logit",
            description="what the last attention carries from a patch straight to the class's logit, past the MLP",
            requires=("attention", "gradients", "blocks"),
            settings=("target",),
            signed=True,
            class_specific=True,
            cost=1.1,
            source="Elhage et al. 2021 (A Mathematical Framework); Gandelsman et al. 2024 (arXiv 2310.05916)",
            sums_to="y(picture) - y(last attention silent)",
        ),
        # Gradients that need no attention, so that they serve any network.
        Method(
            name="gradcam",
            kind="picture",
            target="regard.explanation.pictures.gradients:gradcam",
            description="the tokens of one layer, each feature weighted by its mean gradient",
            requires=("gradients",),
            settings=("layer", "target"),
            signed=False,
            class_specific=True,
            cost=1.1,
            source="Selvaraju et al. 2017 (Grad-CAM, arXiv 1610.02391), eq. 1 and 2",
            reduced=True,
        ),
        Method(
            name="input_x_gradient",
            kind="picture",
            target="regard.explanation.pictures.gradients:input_x_gradient",
            description="pixels times their gradient, summed over each patch",
            requires=("gradients",),
            settings=("target",),
            signed=True,
            class_specific=True,
            cost=2.1,
            source="Shrikumar et al. 2016 (arXiv 1605.01713), section 3",
            reduced=True,
        ),
        Method(
            name="integrated_gradients",
            kind="picture",
            target="regard.explanation.pictures.gradients:integrated_gradients",
            description="pixels times their gradient, averaged on the way from a grey picture, summed over each patch",
            requires=("gradients",),
            settings=("target", "steps"),
            signed=True,
            class_specific=True,
            cost=64,
            source="Sundararajan, Taly and Yan 2017 (arXiv 1703.01365), eq. 1; captum",
            sums_to="y(picture) - y(grey)",
        ),
        # Interventions instead of gradients: no assumption on what is inside, at a price for each patch.
        Method(
            name="occlusion",
            kind="picture",
            target="regard.explanation.pictures.perturbation:occlusion",
            description="how much the class loses when a patch is made grey, one patch at a time",
            requires=(),
            settings=("target",),
            signed=True,
            class_specific=True,
            cost=1.0,
            cost_per="patch",
            source="Zeiler and Fergus 2014 (arXiv 1311.2901), section 4.2; captum",
        ),
        Method(
            name="activation_patching",
            kind="picture",
            target="regard.explanation.pictures.perturbation:activation_patching",
            description="how much of the class a patch's activations in the middle layers bring into a grey picture",
            requires=("blocks",),
            settings=("target", "start"),
            signed=True,
            class_specific=True,
            cost=0.67,
            cost_per="patch",
            source="CAAP 2026 (arXiv 2603.13652), abstract; the layers and the grey picture are our reading",
        ),
        Method(
            name="shapley",
            kind="picture",
            target="regard.explanation.pictures.shapley:shapley",
            description="what a patch adds to the class on average over orders in which patches come; with its error",
            requires=("blocks",),
            settings=("target", "samples", "seed"),
            signed=True,
            class_specific=True,
            cost=0.9,
            cost_per="patch and sample",
            source="Shapley 1953; Castro, Gómez and Tejada 2009 (permutation sampling), eq. 4",
            sums_to="y(all patches) - y(no patch)",
        ),
        # What no method of the above may lose to: maps that do not look at the network.
        Method(
            name="random",
            kind="picture",
            target="regard.explanation.pictures.baselines:random",
            description="baseline: noise, the same for the same seed and picture",
            requires=(),
            settings=("seed",),
            signed=False,
            class_specific=False,
            cost=0,
            source="a baseline; looks at nothing",
            reduced=True,
        ),
        Method(
            name="centre",
            kind="picture",
            target="regard.explanation.pictures.baselines:centre",
            description="baseline: the middle of the picture, always",
            requires=(),
            settings=(),
            signed=False,
            class_specific=False,
            cost=0,
            source="a baseline; looks at nothing",
            reduced=True,
        ),
        Method(
            name="edges",
            kind="picture",
            target="regard.explanation.pictures.baselines:edges",
            description="baseline: how strong the edges in each patch are, whatever the network",
            requires=(),
            settings=(),
            signed=False,
            class_specific=False,
            cost=0,
            source="a baseline; Adebayo et al. 2018 (arXiv 1810.03292), section 5, an edge detector",
            reduced=True,
        ),
        # Maps of words.
        Method(
            name="cross_attention",
            kind="word",
            target="regard.explanation.words.methods:cross_attention",
            description="attention of what speaks to the picture, for each word: one layer, a head or their mean",
            requires=("attention",),
            settings=("layer", "head", "row"),
            signed=False,
            class_specific=False,
            cost=1.0,
            source="Xu et al. 2015 (Show, Attend and Tell, arXiv 1502.03044), section 5.4; Vaswani et al. 2017, eq. 1",
            reduced=True,
        ),
        Method(
            name="grad_cross_attention",
            kind="word",
            target="regard.explanation.words.methods:grad_cross_attention",
            description="attention of a decoder times its gradient: what helps the word; on request through all layers",
            requires=("attention", "gradients", "decoder"),
            settings=("layer", "head", "start"),
            signed=False,
            class_specific=True,
            cost=1.2,
            source="Chefer, Gur and Wolf 2021 (arXiv 2103.15679), eq. 5; eq. 6 to 10 from `start` on",
        ),
        Method(
            name="tam",
            kind="word",
            target="regard.explanation.words.token_activation:tam",
            description="how much the picture's tokens themselves say the word, without what words before it explain",
            requires=("picture tokens",),
            settings=(),
            signed=False,
            class_specific=True,
            cost=1.0,
            source="Li et al. 2025 (Token Activation Map, arXiv 2506.23270), eq. 1 to 7",
        ),
    ),
    group="regard.methods",
    hint="`regard methods` lists them.",
)

DEFAULT_METHODS = ("attention", "rollout", "gradcam", "grad_attention", "libra_fullgrad_plus")
"""Methods of different kinds that take no more than a few forwards: what is audited and inspected by default."""

register_method = METHODS.register


def method_named(name: str, kind: str) -> Method:
    """The method of this name. Raises `UsageError` for one that there is not, offering those of the kind."""
    if name not in METHODS:
        raise unknown(METHODS.kind, name, [row.name for row in METHODS if row.kind == kind], METHODS.hint)
    return METHODS[name]
