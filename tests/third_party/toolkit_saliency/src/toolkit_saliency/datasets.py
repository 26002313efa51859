"""`saliency_folder`: pictures and masks from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from toolkit.data import DataInfo, Dataset, Sample, Split, data_path, is_image_name, read_image, require_folder
from toolkit.errors import DataError

from toolkit_saliency.types import MaskTarget


class SaliencyFolder(Dataset[MaskTarget]):
    """Pictures in `<root>/<split>/images/`, and for each a mask of the same name in `<root>/<split>/masks/*.png` (object: over 127).

    Args:
        root: folder that holds `train` and `test`; relative ones are below TOOLKIT_DATA.
    """

    def __init__(self, split: Split, /, *, root: Path = Path("saliency")) -> None:
        self.folder = require_folder(data_path(root) / split, "the folders images and masks")
        images = require_folder(self.folder / "images", "pictures")
        self.files = sorted(file for file in images.iterdir() if is_image_name(file.name))
        self.info = DataInfo((3, 0, 0))  # sizes may differ; the core fills in that after the eval transforms

    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`. Raises: DataError naming a file that is missing or does not fit."""
        file = self.files[index]
        image = read_image(file, channels=3)
        mask_file = self.folder / "masks" / f"{file.stem}.png"
        if not mask_file.is_file():
            raise DataError(f"{file}: there is no mask; expected {mask_file}")
        mask = read_image(mask_file, channels=1)
        if mask.shape[:2] != image.shape[:2]:
            found, expected = ("x".join(map(str, pixels.shape[:2])) for pixels in (mask, image))
            raise DataError(f"{mask_file}: the mask is {found}, but its picture {file} is {expected}")
        return Sample(file.name, image, MaskTarget(torch.from_numpy((mask[:, :, 0] > 127).astype("uint8"))))

    def __len__(self) -> int:
        return len(self.files)
