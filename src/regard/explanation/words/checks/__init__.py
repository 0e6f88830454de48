"""Checks of words: of each word of a finished caption, how far the picture supports it. A row each in WORD_CHECKS.

A check is called as `check(caption)` with a `FinishedCaption` (`finished.py`), which holds the passes over it, and
returns a float64 for every word, (words,): the higher, the better supported; NaN where the word has none. Checks share
passes: all but those that take patches out need three together. They are raw: none is a probability, and how far each
can be believed depends on the network (docs/caption-files.md).

Of a word of several tokens log-probabilities are summed, as the probabilities of its tokens multiply to its own, and so
are their gains and drops, which are differences of such. Shares, similarities and concentrations are no logarithms of
anything that multiplies: of these a word has the mean over its tokens, so that long words have no more of them. How a
word was chosen is said by its worst token, the least: those that only go on with a word are all but certain.
"""

from dataclasses import dataclass

from regard.registry import Described, Table

LEVELS = ("quick", "full")
"""What is checked: by three passes over a caption at most, or also by passes with patches taken out."""


@dataclass(frozen=True, repr=False)
class WordCheck(Described):
    """A row of WORD_CHECKS: what a check is and needs, as data alone.

    `requires` names what the network must be able to give, of `CaptionNetwork.capabilities`. `passes` are those over
    the finished caption that it reads: of "own", "another" picture, "none" (grey), "removal" (many, with patches out).
    `joins` says how a word of several tokens has one value: "sum", "mean" or "least".
    """

    name: str
    target: str  # "module:function"
    description: str
    requires: tuple[str, ...]
    passes: tuple[str, ...]
    joins: str
    source: str  # paper, and where its formula was read otherwise

    @property
    def level(self) -> str:
        return "full" if "removal" in self.passes else "quick"


_FOLDER = "regard.explanation.words.checks"
_GLSIM = "Park and Li 2025 (GLSim, arXiv 2508.19972), eq. 1 to 5 and code; of one layer, the last unless chosen"
_VISER = "VisER 2026 (arXiv 2608.30480), whose code is not public"
_SRG = "Blücher et al. 2024 (SRG, arXiv 2401.06654), on a word's log-probability"

WORD_CHECKS = Table(
    "check",
    (
        WordCheck(
            name="log_probability",
            target=f"{_FOLDER}.log_probability:log_probability",
            description="natural log-probability of the word after those before it",
            requires=(),
            passes=("own",),
            joins="sum",
            source="the network's own",
        ),
        WordCheck(
            name="gain_over_none",
            target=f"{_FOLDER}.gain:gain_over_none",
            description="nats that the word gains over a grey picture: 0 is as likely without the picture",
            requires=(),
            passes=("own", "none"),
            joins="sum",
            source="--depends; pointwise mutual information with the picture",
        ),
        WordCheck(
            name="gain_over_another",
            target=f"{_FOLDER}.gain:gain_over_another",
            description="nats that the word gains over the next picture: 0 is as likely of another one",
            requires=(),
            passes=("own", "another"),
            joins="sum",
            source="--depends",
        ),
        WordCheck(
            name="picture_attention",
            target=f"{_FOLDER}.picture_attention:picture_attention",
            description="share of the attention that goes to the picture's tokens, mean of heads and middle layers",
            requires=("shared",),
            passes=("own",),
            joins="mean",
            source="Jiang et al. 2024 (SVAR, arXiv 2411.16724), layers 5 to 18 of 32, as shares of the depth",
        ),
        WordCheck(
            name="text_attention",
            target=f"{_FOLDER}.text_attention:text_attention",
            description="less the share of attention among tokens that goes to the caption's words before",
            requires=("text attention",),
            passes=("own",),
            joins="mean",
            source="Hoang-Xuan et al. 2025 (PAS, arXiv 2511.11502), negated; of the middle layers, as SVAR",
        ),
        WordCheck(
            name="concentration",
            target=f"{_FOLDER}.concentration:concentration",
            description="how narrowly the word's map looks: 1 at one patch, 0 where all are alike",
            requires=("attention",),
            passes=("own",),
            joins="mean",
            source="1 - entropy / ln(patches), of the attention's map",
        ),
        WordCheck(
            name="glsim",
            target=f"{_FOLDER}.glsim:glsim",
            description="0.6 of glsim_global and 0.4 of glsim_local",
            requires=("lens",),
            passes=("own",),
            joins="mean",
            source=_GLSIM,
        ),
        WordCheck(
            name="glsim_global",
            target=f"{_FOLDER}.glsim:glsim_global",
            description="cosine of the word's hidden state and that of the last token before the caption",
            requires=("lens",),
            passes=("own",),
            joins="mean",
            source=_GLSIM,
        ),
        WordCheck(
            name="glsim_local",
            target=f"{_FOLDER}.glsim:glsim_local",
            description="mean cosine of the word's hidden state and the 32 patches that say the word most",
            requires=("lens",),
            passes=("own",),
            joins="mean",
            source=_GLSIM,
        ),
        WordCheck(
            name="viser",
            target=f"{_FOLDER}.viser:viser",
            description="0.4 of viser_evidence and 0.6 of viser_ratio",
            requires=("lens", "shared"),
            passes=("own",),
            joins="mean",
            source=_VISER,
        ),
        WordCheck(
            name="viser_evidence",
            target=f"{_FOLDER}.viser:viser_evidence",
            description="cosine of the state before the word and the word's, by how much the patches say it",
            requires=("lens",),
            passes=("own",),
            joins="mean",
            source=f"{_VISER}; the context is read as the token before, the temperature as 1",
        ),
        WordCheck(
            name="viser_ratio",
            target=f"{_FOLDER}.viser:viser_ratio",
            description="share of the picture in the ten strongest attentions to the picture and to the text each",
            requires=("shared",),
            passes=("own",),
            joins="mean",
            source=f"{_VISER}; the strongest are read as attention, mean of heads and middle layers",
        ),
        WordCheck(
            name="margin",
            target=f"{_FOLDER}.choice:margin",
            description="nats by which the word was chosen before the likeliest other one",
            requires=(),
            passes=("own",),
            joins="least",
            source="the network's own",
        ),
        WordCheck(
            name="certainty",
            target=f"{_FOLDER}.choice:certainty",
            description="less the entropy of the choice, in nats: 0 where there was one word to choose",
            requires=(),
            passes=("own",),
            joins="least",
            source="the network's own; of the 64 likeliest tokens, all others as one",
        ),
        WordCheck(
            name="least_before",
            target=f"{_FOLDER}.neighbours:least_before",
            description="least log-probability of the three tokens before the word",
            requires=(),
            passes=("own",),
            joins="least",
            source="the network's own",
        ),
        WordCheck(
            name="least_after",
            target=f"{_FOLDER}.neighbours:least_after",
            description="least log-probability of the three tokens after the word",
            requires=(),
            passes=("own",),
            joins="least",
            source="the network's own",
        ),
        WordCheck(
            name="repetition",
            target=f"{_FOLDER}.map_moves:repetition",
            description="less the share of its map with the same word before: -1 is one place named twice",
            requires=("attention",),
            passes=("own",),
            joins="mean",
            source="our own; Σ min(p, q)",
        ),
        WordCheck(
            name="moved_by_none",
            target=f"{_FOLDER}.map_moves:moved_by_none",
            description="share of the word's map that lies elsewhere with a grey picture",
            requires=("attention",),
            passes=("own", "none"),
            joins="mean",
            source="--depends",
        ),
        WordCheck(
            name="moved_by_another",
            target=f"{_FOLDER}.map_moves:moved_by_another",
            description="share of the word's map that lies elsewhere with the next picture",
            requires=("attention",),
            passes=("own", "another"),
            joins="mean",
            source="--depends",
        ),
        # With patches taken out: many passes.
        WordCheck(
            name="removal",
            target=f"{_FOLDER}.removal:removal",
            description="faithfulness of the word's map: deletion and insertion together; 0 where it says nothing",
            requires=("attention",),
            passes=("own", "removal"),
            joins="sum",
            source=_SRG,
        ),
        WordCheck(
            name="deletion",
            target=f"{_FOLDER}.removal:deletion",
            description="nats that the word loses without the patches where its map is highest",
            requires=("attention",),
            passes=("own", "removal"),
            joins="sum",
            source=_SRG,
        ),
        WordCheck(
            name="insertion",
            target=f"{_FOLDER}.removal:insertion",
            description="nats that the patches where its map is highest give the word alone, less those of all",
            requires=("attention",),
            passes=("own", "removal"),
            joins="sum",
            source=_SRG,
        ),
        WordCheck(
            name="removal_over_random",
            target=f"{_FOLDER}.removal:removal_over_random",
            description="removal of the word's map less that of a random order of the patches",
            requires=("attention",),
            passes=("own", "removal"),
            joins="sum",
            source=_SRG,
        ),
        WordCheck(
            name="removal_over_centre",
            target=f"{_FOLDER}.removal:removal_over_centre",
            description="removal of the word's map less that of the picture's middle",
            requires=("attention",),
            passes=("own", "removal"),
            joins="sum",
            source=_SRG,
        ),
        WordCheck(
            name="removal_over_words",
            target=f"{_FOLDER}.removal:removal_over_words",
            description="removal of the word's map less the mean of what the maps of the other words have for it",
            requires=("attention",),
            passes=("own", "removal"),
            joins="sum",
            source=_SRG,
        ),
    ),
    group="regard.checks",
)

register_check = WORD_CHECKS.register
