"""Splits of subjects into training and validation, which depend on their ids alone."""

import hashlib
from collections.abc import Iterable


def split(subject_ids: Iterable[str], n_validation: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Split subjects into training and validation by a hash of their ids.

    It depends neither on the order of the ids nor on the machine; a subject that joins or leaves the cohort moves at
    most one other.

    Args:
        subject_ids: unique ids.
        n_validation: how many to keep aside.
        seed: another seed, another split.

    Returns:
        Training ids and validation ids, both sorted.

    Raises:
        ValueError: fewer subjects than are to be kept aside.
    """
    ids = sorted(set(subject_ids))
    if not 0 <= n_validation <= len(ids):
        msg = f"Cannot keep {n_validation} of {len(ids)} subjects for validation."
        raise ValueError(msg)
    ranked = sorted(ids, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    return sorted(ranked[n_validation:]), sorted(ranked[:n_validation])
