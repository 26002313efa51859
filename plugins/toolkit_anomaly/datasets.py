"""`mvtec` and `anomaly_folder`: good pictures to learn from, defective ones to test with, masks where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from skimage.measure import label
from torch import Tensor

from toolkit.data.images import is_image_name, read_image
from toolkit.data.locate import data_path, require_folder
from toolkit.data.sample import Dataset, Pixels, Sample, Split
from toolkit.data.signature import files_signature
from toolkit.errors import DataError
from toolkit_anomaly.types import GOOD, AnomalyInfo, AnomalyTruth, KindTarget

Limit = Annotated[int, Ge(1)] | None
_LISTED = 20
_MASKED_FROM = 128
"""A pixel of a mask from here on, of 255, is part of the defect."""


@dataclass(frozen=True)
class Picture:
    """A file, what it shows (an index into the kinds), and its mask where it has one."""

    file: Path
    kind: int
    mask: Path | None = None


class AnomalyPictures(Dataset[KindTarget]):
    """Pictures from files, with the masks of the test part in the size of their files.

    Args:
        split: training pictures are all good and carry no masks.
        pictures: in their order.
        kinds: "good" first.
        has_masks: whether the defects of the test part have masks.
        root: ids are paths below it.
        channels: 3 reads pictures as RGB, 1 as grey.
    """

    info: AnomalyInfo

    def __init__(
        self, split: Split, pictures: Sequence[Picture], kinds: Sequence[str], has_masks: bool, root: Path, channels: Literal[1, 3]
    ) -> None:
        self.pictures = list(pictures)
        self.root = root
        self.channels: Literal[1, 3] = channels
        self.keeps_masks = split == "test" and has_masks
        self.info = AnomalyInfo((channels, 0, 0), tuple(kinds), has_masks)

    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`, its id the path below the root. Raises: DataError naming the file that is damaged or does not fit."""
        picture = self.pictures[index]
        image = read_image(picture.file, channels=self.channels)
        kind = torch.tensor(picture.kind)
        return Sample(
            picture.file.relative_to(self.root).as_posix(), image, KindTarget(kind), AnomalyTruth(kind, self._regions(picture, image))
        )

    def __len__(self) -> int:
        return len(self.pictures)

    def signature(self) -> str:
        """Of the pictures, their masks and kinds."""
        files = [file for picture in self.pictures for file in (picture.file, picture.mask) if file is not None]
        masked = [picture.mask is not None for picture in self.pictures]
        return files_signature(files, masked, [p.kind for p in self.pictures], self.channels, self.keeps_masks, str(self.root))

    def _regions(self, picture: Picture, image: Pixels) -> Tensor:
        height, width = image.shape[:2]
        if not self.keeps_masks:
            return torch.empty(height, width, 0, dtype=torch.int16)
        if picture.mask is None:
            return torch.zeros(height, width, 1, dtype=torch.int16)
        mask = read_image(picture.mask, channels=1)
        if mask.shape[:2] != (height, width):
            found, expected = ("x".join(map(str, pixels.shape[:2])) for pixels in (mask, image))
            raise DataError(f"{picture.mask}: the mask is {found}, but its picture {picture.file} is {expected}; expected one size")
        if mask.max() < _MASKED_FROM:
            raise DataError(f"{picture.mask}: marks no defect, its highest value is {mask.max()}; expected 255 on the defect")
        return regions_of(mask[:, :, 0] >= _MASKED_FROM)


def regions_of(mask: np.ndarray) -> Tensor:
    """[H, W] bool -> [H, W, 1] int16, the connected regions (8 neighbours) numbered from 1."""
    return torch.from_numpy(label(mask, connectivity=2).astype(np.int16))[:, :, None]


def mvtec(split: Split, /, *, root: str = "mvtec", category: str = "", channels: Literal[1, 3] = 3, limit: Limit = None) -> AnomalyPictures:
    """A category in the layout of MVTec AD (Bergmann, Fauser, Sattlegger, Steger, CVPR 2019; CC BY-NC-SA 4.0).

    `train/good/*`, `test/good/*`, `test/<defect>/*` and `ground_truth/<defect>/*`, where the mask of `000.png` is `000_mask.png` or
    `000.png`, in any picture format. Without a folder `ground_truth` only whole pictures are scored.

    Args:
        root: folder of the categories; relative ones are below TOOLKIT_DATA.
        category: folder within it; empty where root is the category itself.
        channels: 3 reads pictures as RGB, 1 as grey.
        limit: keep only so many samples of each part, spread over the kinds, to try something out.

    Raises: DataError for folders that are missing or empty, and listing all pictures without mask and masks without picture.
    """
    _check_split("mvtec", split)
    folder = require_folder(data_path(root) / category, "a category of MVTec AD with the folders train/good and test")
    good = _good_pictures(require_folder(folder / "train" / "good", "good pictures to train with"))
    test = require_folder(folder / "test", "one folder per kind of defect, and good")
    defects = [name for name in _folder_names(test) if name != "good"]
    masks = folder / "ground_truth" if (folder / "ground_truth").is_dir() else None
    pictures = [Picture(file, GOOD) for file in _pictures_in(test / "good")] if (test / "good").is_dir() else []
    problems: list[str] = []
    for kind, name in enumerate(defects, start=1):
        pictures += _defective(test / name, kind, masks and masks / name, problems)
    if masks is not None:
        problems += [
            f"{masks / name}: masks without pictures; expected {test / name}" for name in _folder_names(masks) if name not in defects
        ]
    _raise_listed(problems, folder)
    chosen = [Picture(file, GOOD) for file in good] if split == "train" else pictures
    return AnomalyPictures(split, _spread(chosen, limit), ("good", *defects), masks is not None, folder, channels)


def anomaly_folder(
    split: Split,
    /,
    *,
    root: str,
    good: str = "good",
    bad: str = "bad",
    masks: str = "masks",
    test_share: Annotated[float, Gt(0), Lt(1)] = 0.2,
    split_seed: Annotated[int, Ge(0)] = 0,
    channels: Literal[1, 3] = 3,
    limit: Limit = None,
) -> AnomalyPictures:
    """Your own pictures: a folder of good ones, one of bad ones, masks if you have them.

    The bad folder holds pictures (one kind, named as the folder) or one folder per kind of defect; the folder of masks is laid out as the
    bad one, names as in `mvtec`. A share of the good pictures is kept for testing; bad ones are never trained with. There may be no bad
    ones yet.

    Args:
        root: the folder; relative ones are below TOOLKIT_DATA.
        good: folder of the good pictures, below root.
        bad: folder of the bad ones, below root.
        masks: folder of their masks, below root; where there is none only whole pictures are scored.
        test_share: share of the good pictures that is kept for testing.
        split_seed: which those are; the same files and seed give the same parts.
        channels: 3 reads pictures as RGB, 1 as grey.
        limit: keep only so many samples of each part, spread over the kinds, to try something out.

    Raises: DataError for folders that are missing or empty, and listing all pictures without mask and masks without picture.
    """
    _check_split("anomaly_folder", split)
    folder = require_folder(data_path(root), f"the folders {good} and {bad}")
    files = _good_pictures(require_folder(folder / good, "good pictures"), least=2)
    held_out = set(np.random.default_rng(split_seed).permutation(len(files))[: _test_count(len(files), test_share)].tolist())
    defects = _folder_names(folder / bad) or [Path(bad).name] if (folder / bad).is_dir() else []
    mask_root = folder / masks if (folder / masks).is_dir() else None
    nested = bool(_folder_names(folder / bad)) if defects else False
    problems: list[str] = []
    pictures = [Picture(file, GOOD) for n, file in enumerate(files) if n in held_out]
    for kind, name in enumerate(defects, start=1):
        below = name if nested else "."
        pictures += _defective(folder / bad / below, kind, mask_root and mask_root / below, problems)
    _raise_listed(problems, folder)
    training = [Picture(file, GOOD) for n, file in enumerate(files) if n not in held_out]
    has_masks = mask_root is not None and bool(defects)
    return AnomalyPictures(
        split, _spread(training if split == "train" else pictures, limit), ("good", *defects), has_masks, folder, channels
    )


def _defective(folder: Path, kind: int, masks: Path | None, problems: list[str]) -> list[Picture]:
    """The pictures of a defect with their masks; what does not match goes to `problems`."""
    files = _pictures_in(folder)
    if not files:
        problems.append(f"{folder}: has no pictures; add some or remove it")
    if masks is None:
        return [Picture(file, kind) for file in files]
    by_stem: dict[str, Path] = {}
    for mask in _pictures_in(masks) if masks.is_dir() else []:
        stem = mask.stem.removesuffix("_mask")
        if stem in by_stem:
            problems.append(f"{mask}: a second mask for '{stem}' beside {by_stem[stem].name}; expected one")
        by_stem[stem] = mask
    stems = {file.stem for file in files}
    problems += [f"{file}: has no mask; expected {masks / file.stem}_mask.png" for file in files if file.stem not in by_stem]
    problems += [f"{mask}: is a mask without a picture in {folder}" for stem, mask in by_stem.items() if stem not in stems]
    return [Picture(file, kind, by_stem.get(file.stem)) for file in files]


def _good_pictures(folder: Path, least: int = 1) -> list[Path]:
    files = _pictures_in(folder)
    if len(files) < least:
        raise DataError(f"{folder}: has {len(files) or 'no'} pictures; expected good ones to train with, at least {least}")
    return files


def _pictures_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if is_image_name(file) and file.is_file())


def _folder_names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _test_count(count: int, share: float) -> int:
    return min(max(round(count * share), 1), count - 1)


def _spread(pictures: Sequence[Picture], limit: int | None) -> Sequence[Picture]:
    if limit is None or limit >= len(pictures):
        return pictures
    return [pictures[n * len(pictures) // limit] for n in range(limit)]


def _raise_listed(problems: Sequence[str], folder: Path) -> None:
    if len(problems) == 1:
        raise DataError(problems[0])
    if problems:
        more = [f"... and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
        what = f"{folder}: {len(problems)} pictures and masks do not match; remove the folder of masks to score whole pictures only"
        raise DataError("\n  ".join([what, *problems[:_LISTED], *more]))


def _check_split(name: str, split: str) -> None:
    if split not in ("train", "test"):
        raise ValueError(f"{name} has no split '{split}'; it has train, test")
