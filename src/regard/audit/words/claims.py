"""Which words of a caption are claimed to look where: at a region that the data know, or anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from regard.data.regions import PictureRegions
from regard.explanation.words.support.kinds import kinds_of
from regard.records import END, START, Word

OF_PARTS = {"noun": "nouns", "adjective": "adjectives", "verb": "verbs"}
"""What is claimed of a part of speech that claims something of the picture: its name in CLAIMS."""
Region = tuple[str, ...]
"""The names of regions that are one together."""


@dataclass(frozen=True)
class ClaimedWord:
    """A word at a `place` among its caption's words, its `kind`, what is `claim`ed of such ("" for nothing), whether it
    is `right` (None where it says nothing of the picture or nobody knows), and the `region` that it speaks of."""

    place: int
    text: str
    kind: str
    claim: str
    right: bool | None
    region: Region = ()


def claimed_words(words: Sequence[Word], picture: PictureRegions) -> tuple[ClaimedWord, ...]:
    """The words of a caption but its start, end and signs. Those that claim nothing of the picture are `anywhere`.

    Counts and relations are in no claim: they speak of several things at once. So are words of content (a noun that
    names no category) of which the data know nothing.
    """
    places = [place for place, word in enumerate(words) if word.heatmap is not None and word.text not in (START, END)]
    tagged = [(words[place].text, words[place].part_of_speech) for place in places]
    kinds = kinds_of([text for text, _ in tagged], [tag for _, tag in tagged])
    claims = {claim.place: claim for claim in picture.claims(tagged)}
    claimed = []
    for number, (place, (text, _)) in enumerate(zip(places, tagged, strict=True)):
        claim = claims.get(number)
        if not any(map(str.isalnum, text)):
            continue
        if claim is not None:
            about = (OF_PARTS.get(claim.part, ""), claim.right, claim.regions)
            claimed.append(ClaimedWord(place, text, kinds[number], *about))
        else:
            claimed.append(ClaimedWord(place, text, kinds[number], "anywhere" * (kinds[number] == "other"), None))
    return tuple(claimed)


def noun_regions(words: Sequence[ClaimedWord]) -> tuple[Region, ...]:
    """The regions of a caption's nouns, each once: its objects, and the ground where that is spoken of."""
    return tuple(dict.fromkeys(word.region for word in words if word.claim == "nouns" and word.region))
