"""From files to batches: samples, pictures, transforms, and the engines that load them.

What a data set of a plugin needs is here; the engines are imported from their own files.
"""

from toolkit.data.images import decode_image, is_image_name, read_image, write_png
from toolkit.data.locate import data_path, require_folder
from toolkit.data.sample import Batch, DataInfo, Dataset, Pixels, Sample, Split, Target
from toolkit.data.split import validation_indices

__all__ = [
    "Batch",
    "DataInfo",
    "Dataset",
    "Pixels",
    "Sample",
    "Split",
    "Target",
    "data_path",
    "decode_image",
    "is_image_name",
    "read_image",
    "require_folder",
    "validation_indices",
    "write_png",
]
