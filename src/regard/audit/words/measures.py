"""What is measured of words: by its name in results and in `--require`, what it is called, and what it says."""

from collections.abc import Mapping

RIGHT = "right_words"

MEASURES: Mapping[str, tuple[str, str]] = {
    RIGHT: ("Share of right words", "of the words whose truth is known, how many are right"),
    "map_share": ("Share of the map in the region", "how much of a word's map lies on what the word speaks of"),
    "map_pointing": (
        "Words whose map is highest in the region",
        "the share of words whose highest patch lies on what the word speaks of",
    ),
    "map_nearness": (
        "Nearness of the map to an object",
        "the share of the map on the object of the caption that it is on most, less that object's share of the picture",
    ),
    "fall": (
        "Nats lost without the region",
        "how much log-probability a word loses when what it speaks of is taken out of the picture; of a word that "
        "speaks of nothing, without the object that it loses most by",
    ),
    "gain_over_another": (
        "Nats over another picture",
        "how much log-probability a word has more than with another picture: about 0 is as likely there",
    ),
    "gain_over_none": (
        "Nats over no picture",
        "how much log-probability a word has more than with a grey picture: about 0 is as likely without any",
    ),
    "follows": (
        "Words that the picture adds nothing to",
        "the share of words that have less than 0.1 nats more than with another picture, and than with a grey one",
    ),
    "text_attention": (
        "Attention to the words before, with a minus",
        "0 is no attention to them: the higher, the less the words before count",
    ),
}
"""Those of an audit's findings."""
OF_SUPPORT: Mapping[str, str] = {
    "auroc": "how often a right word has a higher probability than a wrong one",
    "calibration_error": "how far the probabilities are from the shares of right words",
}
"""Those of the model of word support, by kind of word."""
