"""`joined` data sets, people's own in COCO's format (`coco_keypoints`), and `flic`. Leeds Sports Pose is in `leeds.py`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge, Len

from toolkit.data.images import read_image
from toolkit.data.locate import data_path, require_folder
from toolkit.data.sample import Dataset, Sample, Split
from toolkit.data.signature import files_signature
from toolkit.errors import ConfigError, DataError
from toolkit.extension.schema import Kind
from toolkit_pose.mat_reader import read_mat
from toolkit_pose.pictures import PosePictures, cut_to_box, listed
from toolkit_pose.skeletons import FLIC_KEYPOINTS, FLIC_NAMES, pose_info
from toolkit_pose.types import Keypoints, PoseInfo


class Joined(Dataset[Keypoints]):
    """Several data sets of one skeleton, one after the other.

    A part that does not publish a split adds nothing to it: LSPET has no test part, so LSPET and LSP together are tested on LSP's.
    For that, every part is made for every split, and is empty for those it does not publish.

    Args:
        parts: the data sets.
        repeats: how often each part is shown per epoch of training; by default once. Validation and test never repeat. Repeated pictures
            are kept in memory as often, and have ids that end with @2, @3, ...

    Raises: ConfigError if their keypoints differ, if there is not one repeat for each, or if parts repeat while none publishes a
        validation part: one cut from the training part would hold pictures that also train.
    """

    info: PoseInfo

    def __init__(
        self,
        split: Split,
        /,
        *,
        parts: Annotated[tuple[Annotated[Dataset[Keypoints], Kind("dataset")], ...], Len(1)],
        repeats: tuple[Annotated[int, Ge(1)], ...] | None = None,
    ) -> None:
        published = {name for part in parts for name in part.splits}
        self._splits: tuple[Split, ...] = tuple(name for name in ("train", "validation", "test") if name in published)
        self.info = _common_info(parts)
        self.parts = parts
        once = (1,) * len(parts)
        self.repeats = once if repeats is None else repeats
        self._check_repeats()
        self.repeats = self.repeats if split == "train" else once
        self.places = [
            (part, index, turn)
            for part, turns in zip(parts, self.repeats, strict=True)
            for turn in range(1, turns + 1)
            for index in range(len(part))
        ]

    def _check_repeats(self) -> None:
        if len(self.repeats) != len(self.parts):
            raise ConfigError(f"data.repeats: {len(self.repeats)} numbers for {len(self.parts)} parts; give one for each")
        if max(self.repeats) > 1 and "validation" not in self.splits:
            raise ConfigError(
                f"data.repeats: {list(self.repeats)}, but no part publishes a validation part, and one cut from repeated pictures would "
                "hold some that also train; let a part publish one, such as lsp with validation_count: 200, or repeat nothing"
            )

    @property
    def splits(self) -> tuple[Split, ...]:
        """Every split that some part publishes."""
        return self._splits

    def signature(self) -> str | None:
        """Of all parts together; None if one of them has none."""
        signatures = [part.signature() for part in self.parts]
        return None if None in signatures else files_signature([], signatures, self.repeats)

    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`, counted through all parts."""
        part, place, turn = self.places[index]
        sample = part[place]
        return sample if turn == 1 else replace(sample, id=f"{sample.id}@{turn}")

    def __len__(self) -> int:
        return len(self.places)


def _common_info(parts: tuple[Dataset[Keypoints], ...]) -> PoseInfo:
    infos: list[Any] = [part.info for part in parts]
    for info in infos[1:]:
        if info.keypoints != infos[0].keypoints:
            raise ConfigError(
                f"data.parts: one part has keypoints {', '.join(infos[0].keypoints)}, another {', '.join(info.keypoints)}; "
                "join data sets of one skeleton"
            )
    common: PoseInfo = infos[0]
    return common


class CocoKeypoints(Dataset[Keypoints]):
    """People's own pictures, annotated in COCO's keypoint format; each annotated person is one sample, cut out with a margin.

    One category with names of keypoints; `left_x` and `right_x` change places in a mirror, and left_shoulder and right_hip
    measure the torso. A keypoint's third number: 0 not labelled, 1 labelled but hidden, 2 visible. Crowds (`iscrowd`) and people
    without a labelled keypoint are passed over. Places are scored in pixels of the cut-out.

    Args:
        root: folder that `images` and the annotations are below; relative ones are below TOOLKIT_DATA.
        train: annotations of the training part, a JSON file below root.
        validation: those of the validation part; without it one is cut from the training part.
        test: those of the test part; without it there are no test scores.
        images: folder of the pictures below root.
        margin: added on every side of a person's box, as a share of its longer side.

    Raises: DataError if a file is missing or damaged or contradicts itself, naming all offenders.
    """

    info: PoseInfo

    def __init__(
        self,
        split: Split,
        /,
        *,
        root: str,
        train: str = "annotations/train.json",
        validation: str | None = None,
        test: str | None = None,
        images: str = "images",
        margin: Annotated[float, Ge(0)] = 0.15,
    ) -> None:
        folder = require_folder(data_path(root), "pictures and annotations in COCO's format")
        files: dict[Split, str | None] = {"train": train, "validation": validation, "test": test}
        self._splits: tuple[Split, ...] = tuple(name for name, file in files.items() if file is not None)
        self.source = folder / (files[split] or train)  # of a part without annotations: the names of the keypoints alone
        content = _read_json(self.source)
        try:
            names = tuple(content["categories"][0]["keypoints"])
            pictures = {picture["id"]: folder / images / picture["file_name"] for picture in content["images"]}
            annotations = content["annotations"] if files[split] else []
            people = [a for a in annotations if not a.get("iscrowd") and any(a["keypoints"][2::3])]
            self.people = [(a["id"], a["image_id"], a["bbox"], np.array(a["keypoints"], dtype=np.float64)) for a in people]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(
                f"{self.source}: {type(error).__name__}: {error}; expected COCO's categories with keypoints, images with file_name and "
                "annotations with id, image_id, bbox and keypoints"
            ) from error
        try:
            self.info = pose_info(names)
        except ValueError as error:
            raise DataError(f"{self.source}: {error}") from error
        self.pictures, self.margin = pictures, margin
        self._check()

    def _check(self) -> None:
        problems = []
        for number, image, box, keypoints in self.people:
            where = f"annotation {number}"
            if image not in self.pictures:
                problems.append(f"{where}: no picture has id {image}")
            if len(keypoints) != 3 * len(self.info.keypoints):
                problems.append(f"{where}: {len(keypoints)} numbers under keypoints; expected 3 for each of {len(self.info.keypoints)}")
            elif not np.isfinite(keypoints).all():
                problems.append(f"{where}: a keypoint is not finite")
            if len(box) != 4 or not np.isfinite(box).all() or min(box[2:]) <= 0:
                problems.append(f"{where}: bbox {box}; expected left, top, width and height")
        if problems:
            raise DataError(f"{self.source}: " + listed(problems, f"{len(problems):,} mistakes"))

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those with annotations."""
        return self._splits

    def signature(self) -> str:
        """Of the pictures, the annotations and the margin."""
        return files_signature([*self.pictures.values(), self.source], self.margin)

    def __getitem__(self, index: Any) -> Any:
        """One person. Raises: DataError if the picture cannot be read, or a labelled keypoint lies outside of it."""
        number, picture, (left, top, width, height), numbers = self.people[index]
        image = read_image(self.pictures[picture], channels=3)
        xyv = numbers.reshape(-1, 3)
        labelled = xyv[:, 2] > 0
        cut, corner = cut_to_box(image, (left, top, left + width, top + height), self.margin * max(width, height))
        inside = (xyv[:, :2] >= -1).all(axis=1) & (xyv[:, :2] <= (image.shape[1], image.shape[0])).all(axis=1)
        bad = [self.info.keypoints[k] for k in np.flatnonzero(labelled & ~inside)]
        if bad or not cut.size:
            what = f"{', '.join(bad)} labelled" if bad else "its bbox is"
            raise DataError(
                f"{self.pictures[picture]}: annotation {number}: {what} outside of the picture; "
                f"expected places within {image.shape[1]} x {image.shape[0]} pixels"
            )
        points = np.where(labelled[:, None], xyv[:, :2] - corner, 0).astype(np.float32)
        target = Keypoints(torch.from_numpy(points), torch.from_numpy(labelled), torch.from_numpy(xyv[:, 2] == 2), self.info.mirror())
        return Sample(f"coco/{number}", cut, target)

    def __len__(self) -> int:
        return len(self.people)


def flic(split: Split, /, *, root: str = "FLIC") -> PosePictures:
    """5,003 film stills with the upper body of one person each, 11 keypoints (Sapp & Taskar, MODEC, CVPR 2013).

    Places in `examples.mat` count from 1; here from 0. Those that are NaN are not labelled. Whom a still with several people means
    can be told by its torso box, which is not used here: such stills are harder for us than for methods that are given the box.

    Args:
        root: folder with `examples.mat` and `images/`, as released; relative ones are below TOOLKIT_DATA.

    Raises: DataError if files are missing or damaged, naming all offenders.
    """
    folder = require_folder(data_path(root), "examples.mat and images/")
    source = folder / "examples.mat"
    arrays = read_mat(source)
    needed = {f"examples.{name}" for name in ("coords", "filepath", "istrain", "istest")}
    if not needed <= arrays.keys() or arrays["examples.coords"].shape[1:] != (2, 29):
        found = ", ".join(sorted(arrays)) or "nothing"
        raise DataError(f"{source} holds {found}; expected a struct array examples with coords (2 x 29), filepath, istrain and istest")
    chosen = np.flatnonzero(arrays[f"examples.is{split}"].astype(bool)) if split != "validation" else np.arange(0)
    coords = arrays["examples.coords"].astype(np.float64).transpose(0, 2, 1)[chosen][:, [_FLIC_COLUMNS[name] for name in FLIC_NAMES]]
    labelled: npt.NDArray[np.bool_] = np.asarray(np.isfinite(coords).all(axis=2))
    files = [folder / "images" / str(name) for name in arrays["examples.filepath"][chosen]]
    missing = [f"{file}: no such file" for file in files if not file.is_file()]
    if missing:
        raise DataError(listed(missing, f"{source} names {len(missing):,} pictures that are not there"))
    return PosePictures("flic", pose_info(FLIC_KEYPOINTS), files, (coords - 1).astype(np.float32), labelled, labelled, source)


_FLIC_COLUMNS = {
    "lsho": 0, "lelb": 1, "lwri": 2, "rsho": 3, "relb": 4, "rwri": 5, "lhip": 6, "rhip": 9, "leye": 12, "reye": 13, "nose": 16,
}  # fmt: skip
"""Which of the 29 columns of `coords` FLIC's names stand for; the others are empty in the released file."""


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; expected annotations in COCO's keypoint format; set data.root or data.train") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} is damaged: {error}; expected annotations in COCO's keypoint format") from error
