"""Which nouns name which of COCO's categories: "boy" and "women" are persons."""

from collections.abc import Iterable

NOUNS = {
    "person": "man woman boy girl child kid baby infant toddler lady guy gentleman adult male female human player "
    "skier surfer snowboarder skateboarder rider cyclist biker motorcyclist batter catcher umpire pedestrian crowd "
    "family officer policeman fireman soldier worker chef cook waiter student teacher bride groom driver passenger "
    "spectator tourist father mother dad mom son daughter brother sister husband wife friend teenager teen jockey "
    "cowboy swimmer runner hiker golfer performer dancer singer musician businessman",
    "bicycle": "bike cycle",
    "car": "automobile sedan taxi cab suv",
    "motorcycle": "motorbike scooter moped",
    "airplane": "plane jet aircraft airliner jetliner aeroplane biplane",
    "train": "locomotive",
    "truck": "lorry pickup",
    "boat": "ship canoe kayak sailboat ferry yacht rowboat",
    "traffic light": "stoplight",
    "fire hydrant": "hydrant",
    "bird": "duck goose seagull gull pigeon parrot owl eagle swan hawk crow parakeet",
    "cat": "kitten kitty",
    "dog": "puppy pup terrier poodle",
    "horse": "pony foal stallion mare",
    "sheep": "lamb ram ewe",
    "cow": "cattle bull calf ox",
    "backpack": "rucksack knapsack",
    "umbrella": "parasol",
    "handbag": "purse",
    "tie": "necktie",
    "suitcase": "luggage",
    "skis": "ski",
    "sports ball": "ball baseball football basketball",
    "baseball bat": "bat",
    "baseball glove": "mitt",
    "tennis racket": "racket racquet",
    "wine glass": "wineglass",
    "cup": "mug",
    "sandwich": "burger hamburger",
    "hot dog": "hotdog",
    "donut": "doughnut",
    "cake": "cupcake cheesecake",
    "chair": "armchair",
    "couch": "sofa loveseat",
    "potted plant": "plant houseplant",
    "dining table": "table",
    "toilet": "urinal",
    "tv": "television",
    "cell phone": "phone cellphone smartphone",
    "oven": "stove",
    "refrigerator": "fridge",
    "book": "textbook",
    "teddy bear": "teddy",
    "hair drier": "hairdryer",
    "scissors": "scissor",
}
"""Nouns for the categories of COCO, beside the categories' own names: those that hardly mean anything else."""

_PLURALS = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "policeman": "policemen",
    "fireman": "firemen",
    "businessman": "businessmen",
    "wife": "wives",
    "knife": "knives",
    "calf": "calves",
    "mouse": "mice",
    "goose": "geese",
    "ox": "oxen",
}
Phrase = tuple[str, ...]


def nouns_for(categories: Iterable[str]) -> dict[Phrase, str]:
    """Every word, or words in a row, that names one of the categories, in the singular and the plural: its category."""
    phrases: dict[Phrase, str] = {}
    for category in categories:
        plain = category.lower().replace("_", " ")
        for noun in [plain, *NOUNS.get(plain, "").split()]:
            *before, head = noun.split()
            for form in (head, _plural(head)):
                phrases.setdefault((*before, form), category)
    return phrases


def _plural(noun: str) -> str:
    if noun in _PLURALS:
        return _PLURALS[noun]
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"
