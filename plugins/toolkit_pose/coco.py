"""People's own pictures, annotated in COCO's keypoint format."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge

from toolkit.data.images import read_image
from toolkit.data.locate import data_path, require_folder
from toolkit.data.sample import Dataset, Sample, Split
from toolkit.data.signature import files_signature
from toolkit.errors import DataError
from toolkit_pose.pictures import cut_to_box, listed, outside
from toolkit_pose.skeletons import pose_info
from toolkit_pose.types import Keypoints, PoseInfo


@dataclass(frozen=True)
class _Person:
    """One annotation; box: left, top, width, height; numbers: [3 K] x, y and 0 (not labelled), 1 (hidden) or 2 (visible), in turn."""

    number: int | str
    picture: int | str
    box: list[float]
    numbers: npt.NDArray[np.float64]

    @classmethod
    def of(cls, annotation: dict[str, Any]) -> _Person:
        """Raises: KeyError, TypeError or ValueError where something is missing or of another type."""
        box = [float(side) for side in annotation["bbox"]]
        numbers = np.array([float(number) for number in annotation["keypoints"]])
        return cls(_hashable(annotation["id"]), _hashable(annotation["image_id"]), box, numbers)

    @property
    def xyv(self) -> npt.NDArray[np.float64]:
        """[K, 3]."""
        return self.numbers.reshape(-1, 3)

    def problems(self, pictures: Mapping[Any, Path], keypoints: int) -> Iterator[str]:
        if self.picture not in pictures:
            yield f"no picture has id {self.picture}"
        if len(self.numbers) != 3 * keypoints:
            yield f"{len(self.numbers)} numbers under keypoints; expected 3 for each of {keypoints}"
        elif not np.isfinite(self.numbers).all():
            yield "a keypoint is not finite"
        if len(self.box) != 4 or not np.isfinite(self.box).all() or min(self.box[2:]) <= 0:
            yield f"bbox {self.box}; expected left, top, width and height"


class CocoKeypoints(Dataset[Keypoints]):
    """People's own pictures, annotated in COCO's keypoint format; each annotated person is one sample, cut out with a margin.

    Read is the one category that has names of keypoints. `left_x` and `right_x` change places in a mirror, and left_shoulder and right_hip
    measure the torso. A keypoint's third number: 0 not labelled, 1 labelled but hidden, 2 visible. Crowds (`iscrowd`) and people
    without a labelled keypoint are skipped. Scores are in pixels of the cut-out. People of one picture are never divided
    between training and validation.

    COCO's own release: `train_file: annotations/person_keypoints_train2017.json, images: train2017, validation_file:
    annotations/person_keypoints_val2017.json, validation_images: val2017`.

    Args:
        root: folder that `images` and the annotations are below; relative ones are below TOOLKIT_DATA.
        train_file: annotations of the training part, a JSON file below root.
        validation_file: those of the validation part; without it one is cut from the training part.
        test_file: those of the test part; without it there are no test scores.
        images: folder of the pictures below root.
        validation_images: folder of those of the validation part, where it is another one.
        test_images: folder of those of the test part, where it is another one.
        margin: added on every side of a person's box, as a share of its longer side.
        limit: keep only the first so many people of each part, to try something out.

    Raises: DataError if a file is missing or damaged or contradicts itself, naming all offenders.
    """

    info: PoseInfo

    def __init__(
        self,
        split: Split,
        /,
        *,
        root: str,
        train_file: str = "annotations/train.json",
        validation_file: str | None = None,
        test_file: str | None = None,
        images: str = "images",
        validation_images: str | None = None,
        test_images: str | None = None,
        margin: Annotated[float, Ge(0)] = 0.15,
        limit: Annotated[int, Ge(1)] | None = None,
    ) -> None:
        folder = require_folder(data_path(root), "pictures and annotations in COCO's format")
        files: dict[Split, str | None] = {"train": train_file, "validation": validation_file, "test": test_file}
        folders: dict[Split, str | None] = {"train": images, "validation": validation_images, "test": test_images}
        self._splits: tuple[Split, ...] = tuple(name for name, file in files.items() if file is not None)
        self.source = folder / (files[split] or train_file)  # of a part without annotations: the names of the keypoints alone
        content = _read_json(self.source)
        try:
            category = _category(content["categories"])
            names = tuple(category["keypoints"])
            pictures = {picture["id"]: folder / (folders[split] or images) / picture["file_name"] for picture in content["images"]}
            annotations = [a for a in content["annotations"] if a.get("category_id") == category.get("id") and not a.get("iscrowd")]
            self.info = pose_info(names)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
            raise DataError(
                f"{self.source}: {reason}; expected COCO's categories, of which one has keypoints, images with id and file_name, and "
                "annotations with id, image_id, category_id, bbox and keypoints"
            ) from error
        self.pictures, self.margin = pictures, margin
        self.people = self._people(annotations)[:limit] if files[split] else []

    def _people(self, annotations: list[dict[str, Any]]) -> list[_Person]:
        people, problems = [], []
        for annotation in annotations:
            try:
                person = _Person.of(annotation)
            except (KeyError, TypeError, ValueError) as error:
                problems.append(f"annotation {annotation.get('id')}: {type(error).__name__}: {error}")
                continue
            if (person.numbers[2::3] > 0).any():
                people.append(person)
                wrong = person.problems(self.pictures, len(self.info.keypoints))
                problems += [f"annotation {person.number}: {problem}" for problem in wrong]
        if problems:
            raise DataError(f"{self.source}: " + listed(problems, f"{len(problems):,} mistakes"))
        if not people:
            raise DataError(
                f"{self.source}: nobody to learn from: none of its annotations is of the category with keypoints (category_id), "
                "is no crowd and has a keypoint that is labelled"
            )
        return people

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those with annotations."""
        return self._splits

    def signature(self) -> str:
        """Of the pictures, the annotations and how these are read."""
        return files_signature([*self.pictures.values(), self.source], self.margin, len(self.people))

    def groups(self) -> Sequence[str]:
        """The picture that each person is in."""
        return [str(person.picture) for person in self.people]

    def __getitem__(self, index: Any) -> Any:
        """One person. Raises: DataError if the picture cannot be read, or a labelled keypoint lies outside of it."""
        person = self.people[index]
        image = read_image(self.pictures[person.picture], channels=3)
        labelled = torch.from_numpy(person.xyv[:, 2] > 0)
        points = torch.where(labelled[:, None], torch.from_numpy(person.xyv[:, :2]), 0).float()
        left, top, width, height = person.box
        cut, corner = cut_to_box(image, (left, top, left + width, top + height), self.margin * max(width, height))
        wrong = outside(points, labelled, self.info, image)
        if not cut.size:
            wrong = f"its bbox {person.box} is outside of the picture; expected one within"
        if wrong:
            size = f"{image.shape[1]} x {image.shape[0]} pixels"
            raise DataError(f"{self.pictures[person.picture]}: annotation {person.number} in {self.source}: {wrong} its {size}")
        points = torch.where(labelled[:, None], points - torch.tensor(corner), 0)
        visible = torch.from_numpy(person.xyv[:, 2] == 2)
        return Sample(f"coco/{person.number}", cut, Keypoints(points, labelled, visible, self.info.mirror()))

    def __len__(self) -> int:
        return len(self.people)


def _hashable(value: Any) -> int | str:
    if not isinstance(value, int | str):
        raise TypeError(f"an id is {value!r}, neither a number nor text")
    return value


def _category(categories: list[dict[str, Any]]) -> dict[str, Any]:
    """The one that has keypoints. Raises: ValueError if there are none or several."""
    having = [category for category in categories if category.get("keypoints")]
    if len(having) != 1:
        raise ValueError(f"{len(having)} categories have keypoints")
    if not all(isinstance(name, str) for name in having[0]["keypoints"]):
        raise ValueError("a keypoint's name is no text")
    return having[0]


def _read_json(file: Path) -> Any:
    expected = "expected annotations in COCO's keypoint format"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; {expected}; set data.root, or data.train_file and its like") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} is damaged: {error}; {expected}") from error
