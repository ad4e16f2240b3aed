"""Cohorts: find, describe, prepare and store volumes. Opening a prepared cohort needs no torch."""

from braindiffusion.cohort.preprocessing import Preprocessing, box_shape
from braindiffusion.cohort.store import Cohort, Subject

__all__ = ["Cohort", "Preprocessing", "Subject", "box_shape"]
