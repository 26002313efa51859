"""`mvtec` and `anomaly_folder`: good pictures to learn from, defective ones to test with, masks where there are any."""

from __future__ import annotations

import os
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
from toolkit.errors import ConfigError, DataError
from toolkit_anomaly.types import GOOD, AnomalyInfo, AnomalyTruth, KindTarget

Limit = Annotated[int, Ge(1)] | None
_BAD, _MASKS = "bad", "masks"
"""Folders that may be missing where the user names no other."""
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
            return torch.empty(height, width, 0, dtype=torch.int32)
        if picture.mask is None:
            return torch.zeros(height, width, 1, dtype=torch.int32)
        mask = read_image(picture.mask, channels=1)
        if mask.shape[:2] != (height, width):
            found, expected = ("{} high, {} wide".format(*pixels.shape) for pixels in (mask, image))
            raise DataError(f"{picture.mask}: the mask is {found}, but its picture {picture.file} is {expected}; expected one size")
        if mask.max() < _MASKED_FROM:
            raise DataError(f"{picture.mask}: marks no defect, its highest value is {mask.max()}; expected 255 on the defect")
        return regions_of(mask[:, :, 0] >= _MASKED_FROM)


def regions_of(mask: np.ndarray) -> Tensor:
    """[H, W] bool -> [H, W, 1] int32, the connected regions (8 neighbours) numbered from 1."""
    return torch.from_numpy(label(mask, connectivity=2).astype(np.int32))[:, :, None]


def mvtec(split: Split, /, *, root: str = "mvtec", category: str = "", channels: Literal[1, 3] = 3, limit: Limit = None) -> AnomalyPictures:
    """A category in the layout of MVTec AD (Bergmann, Fauser, Sattlegger, Steger, CVPR 2019; CC BY-NC-SA 4.0).

    `train/good/*`, `test/good/*`, `test/<defect>/*` and `ground_truth/<defect>/*`, where the mask of `000.png` is `000_mask.png` or
    `000.png`, in any picture format. Without a folder `ground_truth` only whole pictures are scored. A folder of a defect may be empty.

    Args:
        root: folder of the categories; relative ones are below TOOLKIT_DATA.
        category: folder within it; empty where root is the category itself.
        channels: 3 reads pictures as RGB, 1 as grey.
        limit: keep only so many samples of each part, spread over the kinds, to try something out.

    Raises: DataError for missing folders and no good pictures; and listing all pictures that lie where none are read, pictures without
        mask and masks without picture.
    """
    _check_split("mvtec", split)
    folder = require_folder(data_path(root) / category, "a category of MVTec AD with the folders train/good and test")
    good = _good_pictures(require_folder(folder / "train" / "good", "good pictures to train with"))
    test = require_folder(folder / "test", "one folder per kind of defect, and good")
    defects = [name for name in _folder_names(test) if name != "good"]
    masks = folder / "ground_truth" if (folder / "ground_truth").is_dir() else None
    pictures = [Picture(file, GOOD) for file in _pictures_in(test / "good")] if (test / "good").is_dir() else []
    train_only = [folder / "train" / name for name in _folder_names(folder / "train") if name != "good"]
    problems = [*_loose(folder / "train"), *_nested(folder / "train" / "good"), *_loose(test), *_nested(test / "good")]
    problems += [f"{below}: is not read, only good pictures are trained with" for below in train_only if _pictures_in(below)]
    for kind, name in enumerate(defects, start=1):
        pictures += _defective(test / name, kind, masks and masks / name, problems)
    if masks is not None:
        problems += _loose(masks)
        problems += [
            f"{masks / name}: masks without pictures; expected a folder of defects {test / name}"
            for name in _folder_names(masks)
            if name not in defects and _pictures_in(masks / name)
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
    bad: str = _BAD,
    masks: str = _MASKS,
    test_share: Annotated[float, Gt(0), Lt(1)] = 0.2,
    split_seed: Annotated[int, Ge(0)] = 0,
    channels: Literal[1, 3] = 3,
    limit: Limit = None,
) -> AnomalyPictures:
    """Your own pictures: a folder of good ones, one of bad ones, masks if you have them.

    The bad folder holds pictures (one kind, named as the folder) or one folder per kind of defect; the folder of masks is laid out as the
    bad one, names as in `mvtec`. A share of the good pictures is kept for testing; bad ones are never trained with. There may be no bad
    ones yet: the folder may be empty, or missing where no other than "bad" is named.

    Args:
        root: the folder; relative ones are below TOOLKIT_DATA.
        good: folder of the good pictures, below root.
        bad: folder of the bad ones, below root.
        masks: folder of their masks, below root; without a folder "masks", and none named here, only whole pictures are scored.
        test_share: share of the good pictures that is kept for testing.
        split_seed: which those are; the same files and seed give the same parts.
        channels: 3 reads pictures as RGB, 1 as grey.
        limit: keep only so many samples of each part, spread over the kinds, to try something out.

    Raises: ConfigError for a folder that is not below root. DataError for missing folders and fewer than two good pictures; and listing
        all pictures that lie where none are read, pictures without mask, masks without picture, and good ones among the bad.
    """
    _check_split("anomaly_folder", split)
    folder = require_folder(data_path(root), f"the folders {good} and {bad}")
    good_root, bad_root, mask_root = (_below(folder, *named) for named in (("good", good), ("bad", bad), ("masks", masks)))
    files = _good_pictures(require_folder(good_root, "good pictures"), least=2)
    held_out = set(np.random.default_rng(split_seed).permutation(len(files))[: _test_count(len(files), test_share)].tolist())
    kinds = _folder_names(bad_root) if _is_there(bad_root, folder, "bad", required=bad != _BAD) else None
    defects = [] if kinds is None else kinds or [bad_root.name]
    has_masks = _is_there(mask_root, folder, "masks", required=masks != _MASKS) and bool(defects)
    problems = [*_nested(good_root, besides=(bad_root, mask_root)), *(_loose(bad_root) if kinds else [])]
    pictures = [Picture(file, GOOD) for n, file in enumerate(files) if n in held_out]
    for kind, name in enumerate(defects, start=1):
        below = name if kinds else "."
        if name == "good":
            problems.append(
                f"{bad_root / below}: no defect can be named 'good'; rename the folder, or move it elsewhere if its pictures are good"
            )
        pictures += _defective(bad_root / below, kind, mask_root / below if has_masks else None, problems)
    _raise_listed(problems, folder)
    training = [Picture(file, GOOD) for n, file in enumerate(files) if n not in held_out]
    return AnomalyPictures(
        split, _spread(training if split == "train" else pictures, limit), ("good", *defects), has_masks, folder, channels
    )


def _defective(folder: Path, kind: int, masks: Path | None, problems: list[str]) -> list[Picture]:
    """The pictures of a defect with their masks; what does not match goes to `problems`."""
    files = _pictures_in(folder)
    problems += _nested(folder)
    if masks is None:
        return [Picture(file, kind) for file in files]
    by_stem: dict[str, Path] = {}
    for mask in _pictures_in(masks) if masks.is_dir() else []:
        stem = mask.stem.removesuffix("_mask")
        if stem in by_stem:
            problems.append(f"{mask}: a second mask for '{stem}' beside {by_stem[stem].name}; expected one")
        by_stem[stem] = mask
    stems: dict[str, Path] = {}
    for file in files:
        if stems.setdefault(file.stem, file) != file:
            problems.append(f"{file}: is named as {stems[file.stem].name}, and one mask cannot be that of both; rename one")
    problems += [f"{file}: has no mask; expected {masks / file.stem}_mask.png" for file in files if file.stem not in by_stem]
    problems += [f"{mask}: is a mask without a picture in {folder}" for stem, mask in by_stem.items() if stem not in stems]
    return [Picture(file, kind, by_stem.get(file.stem)) for file in files]


def _good_pictures(folder: Path, least: int = 1) -> list[Path]:
    files = _pictures_in(folder)
    if len(files) < least:
        raise DataError(
            f"{folder}: has {len(files) or 'no'} pictures; expected good ones to train with, at least {least}, in this folder itself"
        )
    return files


def _below(root: Path, option: str, name: str) -> Path:
    """The folder `name` below `root`. Raises: ConfigError if it lies elsewhere."""
    whole, inside = Path(os.path.abspath(root)), Path(os.path.abspath(root / name))  # not `resolve`: links may lead anywhere
    if not inside.is_relative_to(whole):
        raise ConfigError(f"must be below root ({root}), found '{name}'; set data.root to a folder that holds all", path=f"data.{option}")
    return root / inside.relative_to(whole)


def _is_there(folder: Path, root: Path, option: str, *, required: bool) -> bool:
    """Whether the folder exists. Raises: DataError that lists those that do, if it is required and does not."""
    if required and not folder.is_dir():
        there = ", ".join(_folder_names(root)) or "none"
        raise DataError(f"{folder}: no such folder; folders in {root}: {there}; set data.{option} to the right one")
    return folder.is_dir()


def _loose(folder: Path) -> list[str]:
    """A problem for each picture that lies beside the folders that are read."""
    return [f"{file}: is not read, it lies beside the folders of pictures; move it into one" for file in _pictures_in(folder)]


def _nested(folder: Path, besides: Sequence[Path] = ()) -> list[str]:
    """A problem for each picture in a folder within `folder`, but in hidden ones and those that are read for something else."""
    problems = []
    for below, names, _ in os.walk(folder):
        here = Path(below)
        names[:] = sorted(name for name in names if not name.startswith(".") and here / name not in besides)
        if here != folder:
            problems += [f"{file}: is not read, it lies too deep; move it to {folder}" for file in _pictures_in(here)]
    return problems


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
        what = f"{folder}: {len(problems)} pictures or masks are out of place (without a folder of masks whole pictures are scored)"
        raise DataError("\n  ".join([what, *problems]))


def _check_split(name: str, split: str) -> None:
    if split not in ("train", "test"):
        raise ValueError(f"{name} has no split '{split}'; it has train, test")
