"""Leeds Sports Pose (`lsp`) and its extended training set (`lspet`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt

from toolkit.data.images import is_image_name
from toolkit.data.locate import data_path, require_folder
from toolkit.data.sample import Split
from toolkit.errors import ConfigError, DataError
from toolkit_pose.mat_reader import read_mat
from toolkit_pose.pictures import PosePictures, listed
from toolkit_pose.skeletons import LSP_KEYPOINTS, pose_info


def lsp(
    split: Split,
    /,
    *,
    root: str = "lsp",
    train_count: Annotated[int, Gt(0)] = 1000,
    validation_count: Annotated[int, Ge(0)] = 0,
    limit: Annotated[int, Ge(1)] | None = None,
) -> PosePictures:
    """2,000 pictures of people at sports, 14 keypoints each, the person about 150 px long (Johnson & Everingham, BMVC 2010).

    In `joints.mat` x and y count from 1, as MATLAB does; here from 0. Its third row is 1 for an OCCLUDED keypoint, though its
    README speaks of visibility. All keypoints are labelled, occluded ones too.

    Args:
        root: folder with `joints.mat` [3, 14, N] and `images/im0001.jpg` ...; relative ones are below TOOLKIT_DATA.
        train_count: how many of the first pictures train; the rest test; officially 1,000 of 2,000.
        validation_count: how many of the last of those validate instead; 0: the core cuts a part to validate (`data.validation`).
        limit: keep only the first so many samples of each part, to try something out.

    Raises: ConfigError if a part would be empty; DataError if files are missing or damaged or do not fit each other, naming all offenders.
    """
    folder, source = _folder(root, "joints.mat and images/"), data_path(root) / "joints.mat"
    joints = _array(read_mat(source), source, (3, 14, None)).transpose(2, 1, 0)  # [N, 14, 3]
    visible = _flags(joints, source) == 0
    files = _pictures(folder / "images", len(joints), source)
    if train_count >= len(files):
        raise ConfigError(f"lsp: train_count is {train_count}, but {folder} has {len(files)} pictures; leave at least one to test")
    if validation_count >= train_count:
        raise ConfigError(f"lsp: validation_count is {validation_count} of {train_count} pictures that train; leave at least one")
    learnt = train_count - validation_count
    part = {"train": slice(learnt), "validation": slice(learnt, train_count), "test": slice(train_count, None)}[split]
    splits: tuple[Split, ...] = ("train", "validation", "test") if validation_count else ("train", "test")
    joints, visible = joints[part][:limit], visible[part][:limit]
    everything = np.ones(joints.shape[:2], dtype=bool)
    points = (joints[..., :2] - 1).astype(np.float32)
    return PosePictures("lsp", pose_info(LSP_KEYPOINTS), files[part][:limit], points, everything, visible, source, splits=splits)


def lspet(
    split: Split,
    /,
    *,
    root: str = "lspet",
    margin: Annotated[float, Ge(0)] | None = None,
    limit: Annotated[int, Ge(1)] | None = None,
) -> PosePictures:
    """10,000 more pictures to train with, 14 keypoints, labelled by crowd workers, some wrongly (Johnson & Everingham, CVPR 2011).

    The third number of a keypoint is 1 where it is VISIBLE, the other way round than in LSP; the place of the others means nothing:
    they are not labelled, nor are those more than two pixels outside their picture.
    There is no test part: the set is empty for any split but "train".

    Args:
        root: folder with `images/` and `joints.mat` [14, 3, N], x and y from 1, as released, or `joints.npy` [N, 14, 3], x and y
            from 0, of copies that were cropped; relative ones are below TOOLKIT_DATA.
        margin: cut each picture to the box of its labelled keypoints and so much more on every side, as a share of the longer one;
            people then fill their pictures as in LSP (0.16). None takes pictures as they are.
        limit: keep only the first so many samples, to try something out.

    Raises: DataError if files are missing or damaged or do not fit each other, naming all offenders.
    """
    folder = _folder(root, "joints.mat or joints.npy, and images/")
    source = folder / "joints.npy"
    if source.is_file():
        joints = _array({"joints": _load_npy(source)}, source, (None, 14, 3))
    else:
        source = folder / "joints.mat"
        joints = _array(read_mat(source), source, (14, 3, None)).transpose(2, 0, 1)
        joints = np.concatenate([joints[..., :2] - 1, joints[..., 2:]], axis=-1)
    files = _pictures(folder / "images", len(joints), source)
    visible = _flags(joints, source) == 1
    kept = slice(0, limit if split == "train" else 0)
    joints, files, visible = joints[kept], files[kept], visible[kept]
    points, info = joints[..., :2].astype(np.float32), pose_info(LSP_KEYPOINTS)
    return PosePictures("lspet", info, files, points, visible, visible, source, splits=("train",), unlabel_outside=True, margin=margin)


def _folder(root: str, expected: str) -> Path:
    return require_folder(data_path(root), expected)


def _load_npy(file: Path) -> npt.NDArray[np.generic]:
    try:
        return np.asarray(np.load(file, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file} is damaged: {error}; expected an array saved by NumPy; fetch it again") from error


def _array(arrays: dict[str, npt.NDArray[np.generic]], source: Path, shape: tuple[int | None, ...]) -> npt.NDArray[np.float64]:
    """The array `joints`, its shape held against the expected one, None for any number."""
    wanted = " x ".join("N" if side is None else str(side) for side in shape)
    if "joints" not in arrays:
        raise DataError(f"{source} has no array 'joints', but {', '.join(arrays) or 'none at all'}; expected joints, {wanted}")
    joints = arrays["joints"]
    fits = joints.ndim == len(shape) and all(side in (None, found) for side, found in zip(shape, joints.shape, strict=True))
    if not fits or not np.issubdtype(joints.dtype, np.number):
        found = " x ".join(map(str, joints.shape))
        raise DataError(f"{source}: joints is {found} of type {joints.dtype}; expected {wanted} numbers; is it another data set's file?")
    return joints.astype(np.float64)


def _pictures(folder: Path, count: int, source: Path) -> list[Path]:
    """The pictures `im0001.*`, `im0002.*`, ... in the order of their numbers, one for each annotation."""
    require_folder(folder, "pictures im0001.jpg, im0002.jpg, ...")
    numbered: dict[int, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        if file.stem[:2] == "im" and file.stem[2:].isdecimal() and is_image_name(file):
            numbered.setdefault(int(file.stem[2:]), []).append(file)
    lines = [f"{folder}: no picture number {number}" for number in range(1, count + 1) if number not in numbered]
    lines += [f"{files[0]}: a picture without keypoints" for number, files in sorted(numbered.items()) if not 1 <= number <= count]
    lines += [f"{' and '.join(map(str, files))} have one number" for _, files in sorted(numbered.items()) if len(files) > 1]
    if lines:
        found = sum(map(len, numbered.values()))
        heading = f"{folder} has {found:,} pictures, but {source} has keypoints of {count:,}; expected one picture for each"
        raise DataError(listed(lines, heading))
    return [numbered[number][0] for number in range(1, count + 1)]


def _flags(joints: npt.NDArray[np.float64], source: Path) -> npt.NDArray[np.float64]:
    """[N, 14] the third number of each keypoint. Raises: DataError naming all people for whom one is neither 0 nor 1."""
    wrong = np.flatnonzero(~np.isin(joints[..., 2], (0, 1)).all(axis=1))
    if len(wrong):
        lines = [f"{source}: of person {index + 1} a keypoint's third number is neither 0 nor 1" for index in wrong]
        raise DataError(listed(lines, f"{source}: {len(wrong):,} people have a keypoint whose third number is neither 0 nor 1"))
    flags: npt.NDArray[np.float64] = joints[..., 2]
    return flags
