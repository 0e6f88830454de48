"""What the page of an audit of a captioner says in words: the five claims, and what each kind of evidence asks."""

from collections.abc import Mapping
from typing import Any

EXAMPLES: Mapping[str, str] = {
    "nouns": "“cat” looks at the cat",
    "adjectives": "“red” looks at the ball that it is said of",
    "verbs": "“sits” looks at the part that acts",
    "anywhere": "“a”, “of” and “on” look at no place more than at another",
    "words_before": "what “a” or “of” is, the words before it say, and not the picture",
}
"""Each claim by an example."""
GROUPS_OF: Mapping[str, str] = {
    "nouns": "nouns",
    "adjectives": "adjectives",
    "verbs": "verbs",
    "anywhere": "other words",
    "words_before": "other words",
}
"""By claim, the words that it is made of."""
GROUPS: Mapping[str, str] = {
    "right": "right words",
    "wrong": "wrong words",
    "unjudged": "words of which nobody knows whether they are right",
    "all": "all words",
}
"""Which words a row is of."""
EVIDENCE_WORDS: Mapping[str, Mapping[str, Any]] = {
    "map": {
        "column": "By map",
        "heading": "Do the maps lie where the claim says?",
        "unit": "the share of the map that lies in the region",
        "reading": (
            "The share of a word's map that lies on the region which the word speaks of, less that of the best map "
            "which does not know the word: one at random, the middle of the picture, the map of such a word in another "
            "picture.",
        ),
    },
    "part": {
        "column": "By part",
        "heading": "Of what is done: does the map lie on the part that acts?",
        "unit": "the share of the map that lies on the part",
        "reading": (
            "Where the part that acts is part of a whole, as a leg is of the animal, the map is held against one that "
            "is even over the whole: who looks at all of the animal has not looked at the leg.",
        ),
    },
    "removal": {
        "column": "By removal",
        "heading": "Does the word fall when its region is taken out?",
        "unit": "nats",
        "reading": (
            "What the word speaks of is taken out of the picture, and the word's log-probability measured again, after "
            "the same words before it. It is held against taking out another region of the same size.",
        ),
    },
    "gain": {
        "column": "By gain",
        "heading": "Does the word owe anything to the picture?",
        "unit": "nats",
        "reading": ("How much log-probability the word gains over the same caption without its picture.",),
    },
}
"""By kind of evidence, what its column is called, what it asks and in what unit it answers."""
KINDS: Mapping[str, str] = {
    "all": "all that say something",
    "noun": "nouns",
    "colour": "colours",
    "count": "counts",
    "relation": "relations",
    "verb": "verbs",
    "side": "sides",
    "adjective": "other adjectives",
}
"""Kinds of words, as a table lists them."""
SUPPORT: Mapping[str, Mapping[str, str]] = {
    "auroc": {
        "name": "Right words above wrong ones (AUROC)",
        "meaning": "of a right and a wrong word, how often the right one has the higher probability: 0.5 is guessing",
    },
    "calibration_error": {
        "name": "Calibration error",
        "meaning": "how far the probabilities are from the shares of words that are right, in the mean",
    },
}
"""What is measured of the model of word support."""


def group_words(words: str) -> str:
    """Which words a row is of, for readers."""
    return GROUPS.get(words, words)
