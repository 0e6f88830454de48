"""What the pages of audits say in words: the questions of the parts, and what no row of METRICS describes."""

from collections.abc import Mapping

from regard.records import Finding

RULE = {"alpha": 0.05, "margin": 0.05, "draws": 10_000}
"""What the rule of the verdicts holds: those of `audit/rules.py`, in words."""
MARKS = {"supported": "✓", "contradicted": "✕", "no better than a control": "≈", "not decidable": "?"}
"""A sign for each status, which tells them apart without colour."""
HEADINGS: Mapping[str, tuple[str, str, str]] = {
    "quality": (
        "Quality",
        "How good is it?",
        "How often the network is right. All that follows is about how it comes to its answers, right or wrong.",
    ),
    "faithfulness": (
        "Faithfulness",
        "Do the maps mark what the network uses?",
        "Parts of each picture are taken away in the order of the map, and the network is asked again. A map that "
        "marks what it uses makes the answer fall early where the marked parts go first, and late where they go last. "
        "Grey rows are controls: maps that cannot know what the network uses. What a method has above them counts.",
    ),
    "localisation": (
        "Localisation",
        "Do the maps lie on the object?",
        "This says where a map lies, not whether it is right: a network may use the background, and a faithful map "
        "then lies there. Each number is to be read against a map that looks at nothing.",
    ),
    "sanity": (
        "Sanity",
        "Do the maps depend on the network, and on the class?",
        "A map that hardly changes when all that the network has learnt is taken from it shows the picture, not the "
        "network. A map that is the same for every class cannot say why it is this class.",
    ),
    "reliance": (
        "Reliance",
        "What does the network rely on?",
        "Measured by changing the pictures and asking again, not by looking at maps. What cutting out and pasting "
        "alone costs is measured too: the object on its own background, filled, against which all swaps are held.",
    ),
    "robustness": (
        "Robustness",
        "Does the answer hold when pictures get worse?",
        "The same pictures, blurred, noisy, compressed and brighter.",
    ),
    "artifacts": (
        "Artifacts",
        "Are the spots of extreme attention a fault?",
        "Some networks keep notes to themselves in patches of no interest, which shine in their attention. Here is how "
        "many, what they cover, whether they go with errors, and whether removing them helps.",
    ),
    "positions": (
        "Positions",
        "Does the network know which patches are near each other?",
        "How alike the embeddings of neighbouring places are, beside those of random places.",
    ),
}
"""By part its short name, the question it answers, and how to read it."""

WORDS: Mapping[str, tuple[str, str]] = {
    "accuracy": ("Accuracy", "share of pictures whose predicted class is the true one"),
    "probability": ("Probability of the class", "of the class that is predicted for the whole picture, in the mean"),
    "total": ("Activity on the way", "evidence, contradiction and activity without a trace together: they sum to it"),
    "endpoint": (
        "Change from end to end",
        "what is left of it at the end: the probability with the thing, less without",
    ),
}
"""Label and description of what no row of METRICS describes."""
VARIANTS: Mapping[str, str] = {
    "original": "the picture as it is",
    "object": "the object alone, in front of grey",
    "background": "the background alone, the object's box filled",
    "control": "the object on its own background, filled",
    "random": "the object on the background of a picture of another class",
    "same": "the object on the background of another picture of its class",
}
"""What is shown to the network, of the measures of answers."""


def measure_words(each: Finding) -> tuple[str, str]:
    """What a measure is called and means: by its row of METRICS, which its score carries."""
    label, description = WORDS.get(each.measure, (each.measure.replace("_", " ").capitalize(), ""))
    return each.score.label or label, each.score.description or description


def variant_words(each: Finding) -> str:
    """The condition of a number, in words where it is what was shown to the network."""
    answers = each.measure in ("accuracy", "probability")
    return VARIANTS.get(each.condition, each.condition) if answers else each.condition
