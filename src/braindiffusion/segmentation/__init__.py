"""Reading brains: mask, regions, an embedding and an age, of any T1w volume.

>>> from braindiffusion.segmentation import load_reader
>>> reading = load_reader().read_volume(load_volume("sub-01_T1w.nii.gz"))    # doctest: +SKIP
"""

from braindiffusion.segmentation.files import load_reader, save_reader
from braindiffusion.segmentation.model import Reader, Reading

__all__ = ["Reader", "Reading", "load_reader", "save_reader"]
