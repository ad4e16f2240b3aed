"""Descriptions of the metric groups of an evaluation, in plain words."""

from braindiffusion.runs.reports.evaluation import ADHERENCE, COPIES, MEMORIZATION

_BASELINE = (
    "The real baseline is what real training brains reach against the same held-out ones: no generator can be "
    "expected to do better."
)
DESCRIPTIONS = {
    "diversity": "Whether generated brains differ from each other as much as people do. 0: as much; above: they are "
    "too alike; below: they differ more than people.",
    "volumes": "Whether regions are as large, and vary as much, as in real people: the distance between the two "
    "distributions, in standard deviations of real brains.",
    "tissues": "The same for all grey matter, white matter and cerebrospinal fluid together.",
    "asymmetry": "Whether left and right differ as much, and to the same side, as in real people.",
    "cortex": "Whether the cortex is as thick, and its sulci as deep, as in real people: by distance transforms of the "
    "region map. At voxels of 2 mm these are numbers to compare, not anatomical ones: the map's cortex is thicker than "
    "the real one.",
    "texture": "Whether tissue has the intensity and the noise of real scans.",
    "shape": "Whether size and outline of the brain vary as in real people.",
    "spectrum": "How much fine detail there is, compared with real brains. Below 0 dB at high frequencies: blurred; "
    "above: noisy.",
    "pairs": "Similarity of each generated brain and the real one of the same name, where there is one.",
    ADHERENCE: "Whether a brain has the requested properties, as measured in the image. The real baseline is the "
    "result of the same measurement on held-out people.",
    MEMORIZATION: "Whether brains are copies of training data: distance to the nearest training brain over distance "
    "to the nearest held-out brain. New people have a ratio of about 1; a model that copies has a smaller one. p is "
    "the chance to see such a difference between groups of real people.",
    COPIES: "Brains nearer to a training brain than half of the smallest distance between any two real people.",
}
FEATURES = (
    "Distance between the distributions of generated brains and of real ones that the model never saw, in the feature "
    "space of a trained network. 0: no difference."
)
_WITHOUT_BASELINE = {ADHERENCE, MEMORIZATION, COPIES, "pairs"}


def metric_description(group: str) -> str:
    """Return the description of a group of rows; a group without its own is one of features."""
    description = DESCRIPTIONS.get(group, FEATURES)
    return description if group in _WITHOUT_BASELINE else f"{description} {_BASELINE}"
