"""What the figures of an evaluation mean, in plain words: for who reads them without having read the papers."""

_FLOOR = "The floor is what real training brains reach against the same held-out ones: nobody can be expected below it."

GROUPS = {
    "diversity": "Whether generated brains differ from each other as much as people do. 0: as much; above: they are "
    "all too alike; below: they differ more than people.",
    "volumes": "Whether regions are as large, and vary as much, as in real people: how far the two distributions "
    "are apart, in standard deviations of real brains.",
    "tissues": "The same for all grey matter, white matter and fluid together.",
    "asymmetry": "Whether left and right differ as much, and to the same side, as in real people.",
    "texture": "Whether tissue is as bright and as grained as in real scans.",
    "shape": "Whether size and outline of the brain vary as in real people.",
    "spectrum": "How much fine detail there is, against real brains. Below 0 dB at high frequencies: blurred; above: "
    "grainy.",
    "pairs": "How alike each generated brain and the real one of its name are, where there is one.",
    "control": "Whether a brain is what was asked for, as it is read back from the image. The floor is how well the "
    "same reading does on held-out people.",
    "originality": "How near brains are to what the model learnt from: distance to the nearest training brain over "
    "that to the nearest brain that it never saw. New people have about 1; well below them, the model copies. p is the "
    "chance to see such a difference between groups of real people.",
    "copies": "Brains nearer to a training brain than half of the smallest distance between any two real people.",
}
FEATURES = (
    "How far the generated brains are, as a whole, from real ones that the model never saw, as a trained network sees "
    "them. 0: not to be told apart."
)
_WITHOUT_FLOOR = {"control", "originality", "copies", "pairs"}


def meaning(group: str) -> str:
    """What the figures of a group say; an unknown group is one of features."""
    said = GROUPS.get(group, FEATURES)
    return said if group in _WITHOUT_FLOOR else f"{said} {_FLOOR}"
