"""Segmentation of T1w volumes: brain mask, regions, an embedding and an age.

>>> from braindiffusion.segmentation import load_segmentation_model
>>> found = load_segmentation_model().predict_volume(load_volume("sub-01_T1w.nii.gz"))    # doctest: +SKIP
"""

from braindiffusion.segmentation.files import load_segmentation_model, save_segmentation_model
from braindiffusion.segmentation.model import Segmentation, SegmentationModel

__all__ = ["Segmentation", "SegmentationModel", "load_segmentation_model", "save_segmentation_model"]
