"""The prepared cohort on disk: one Zarr group with the arrays and the table of all subjects. Needs no torch."""

from braindiffusion.cohort.store.cohort import Cohort, check_store_path
from braindiffusion.cohort.store.split import split
from braindiffusion.cohort.store.subject import PreparedVolume, Subject

__all__ = ["Cohort", "PreparedVolume", "Subject", "check_store_path", "split"]
