"""What a network is, and what it was trained on."""

from collections import Counter
from collections.abc import Iterator

from regard.exports.card.markdown import code, escaped, facts, joined, pictures
from regard.exports.card.subject import Subject, bare

SETTINGS = ("epochs", "batch_size", "optimiser", "learning_rate", "open_layers", "mix", "virtual_ranks")
"""The settings of a recipe that a card names; all of them are in the run."""
LISTED = 60
"""Classes that are named in one line."""


def what_it_is(subject: Subject) -> str:
    """The first paragraph: what goes in, and what comes out."""
    architecture = f"{code(subject.architecture)}, {subject.parameters / 1e6:.1f} million parameters"
    if subject.classes is None:
        return f"An image network ({architecture}) whose outputs have no names."
    many = len(subject.classes)
    if subject.several:
        return f"An image classifier ({architecture}) that gives a picture any number of {many} labels, or none."
    return (
        f"An image classifier ({architecture}) that gives each picture **one of {many} "
        f"{'classes' if many > 1 else 'class'}**, also a picture that shows none of them."
    )


def preparation_text(subject: Subject) -> str:
    """How a picture becomes the input, in words."""
    preparation = subject.preparation
    size = f"{preparation.width} × {preparation.height} pixels"
    low = [-mean / std for mean, std in zip(preparation.mean, preparation.std, strict=True)]
    high = [(1 - mean) / std for mean, std in zip(preparation.mean, preparation.std, strict=True)]
    values = f"values from {min(low):.3g} to {max(high):.3g}, {preparation.colours}"
    ways = {
        "crop": f"resized until it covers {_covers(preparation)}, its aspect kept, of which the middle {size} are "
        "taken: what lies nearer to the edges is never looked at",
        "squash": f"resized to {size}, whatever its aspect: the whole picture is looked at",
        "centre": f"its middle {size} are taken as they are: the rest is never looked at",
    }
    if preparation.mode == "squash" and preparation.resized is not None:
        ways["squash"] = f"resized to {_covers(preparation)}, of which the middle {size} are taken"
    return f"{ways[preparation.mode]}; {values}"


def _covers(preparation: "object") -> str:
    resized = getattr(preparation, "resized", None)
    crop = getattr(preparation, "crop", 1.0)
    height, width = resized or (int(getattr(preparation, side) // crop) for side in ("height", "width"))
    return f"{width} × {height} pixels"


def training_section(subject: Subject) -> str:
    """The section on data, base network and recipe, as far as the run has them."""
    if not subject.counts and not subject.recipe:
        return "Not recorded: this network comes without the files in which regard keeps what it was trained on."
    licence = "" if subject.licence else "\n\nThe licence of these weights is not known to regard: ask the author."
    return f"{facts(_facts(subject))}{licence}"


def _facts(subject: Subject) -> Iterator[tuple[str, str]]:
    count = {split: sum(labels.values()) for split, labels in subject.counts.items()}
    if "train" in count:
        labels = subject.counts["train"]
        sizes = sorted(labels.values())
        spread = f"{sizes[0]} each" if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]} each"
        yield "Trained on", f"{pictures(count['train'])} of {len(labels)} classes, {spread} (all in the table below)"
    if "val" in count:
        yield "Kept apart from training", pictures(count["val"])
    if "earlier" in count:
        yield "Learnt before that", f"{pictures(count['earlier'])}, by the network that it goes on from"
    if subject.start:
        yield "Starting point", code(subject.start)
    if subject.recipe:
        settings = subject.recipe.get("settings") or {}
        chosen = [f"{name.replace('_', ' ')} {settings[name]}" for name in SETTINGS if settings.get(name) is not None]
        more = f" ({escaped(', '.join(chosen))})" if chosen else ""
        yield "Recipe", f"{code(subject.recipe.get('recipe', 'unknown'))} of regard{more}"
        arguments = subject.recipe.get("arguments") or {}
        if arguments.get("group"):
            yield "Kept on one side of the split", f"pictures of one {code(arguments['group'])}"
        if _searched(subject):
            yield (
                "Chosen while it was trained",
                "layers, learning rate and mix, by cross-validation among the training pictures: those of the recipe "
                "are where that began",
            )
        if arguments.get("weights"):
            yield "Weights it began with", code(bare(arguments["weights"]))
    if subject.edits:
        yield "Changed after training", joined([code(each.get("kind", "unknown")) for each in subject.edits])


def _searched(subject: Subject) -> bool:
    """Whether a search among the training pictures chose some of the settings."""
    settings = subject.recipe.get("settings") or {}
    few = sum(subject.counts.get("train", Counter()).values()) <= settings.get("few", 0)
    search = settings.get("search")
    return search == "always" or (search == "few" and few)


def class_names(subject: Subject) -> str:
    """The classes in one line; of very many the first."""
    names = [code(name) for name in (subject.classes or ())[:LISTED]]
    more = len(subject.classes or ()) - len(names)
    return f"{', '.join(names)}{f' and {more} more' if more > 0 else ''}"
