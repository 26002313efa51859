"""`joined` data sets and `flic`. Leeds Sports Pose is in `leeds.py`, people's own pictures in `coco.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Len

from toolkit.data.locate import data_path, require_folder
from toolkit.data.sample import Dataset, Split
from toolkit.data.signature import files_signature
from toolkit.errors import ConfigError, DataError
from toolkit.extension.schema import Kind
from toolkit_pose.mat_reader import read_mat
from toolkit_pose.pictures import PosePictures, listed
from toolkit_pose.skeletons import FLIC_KEYPOINTS, FLIC_NAMES, pose_info
from toolkit_pose.types import Keypoints, PoseInfo


class Joined(Dataset[Keypoints]):
    """Several data sets of one skeleton, one after the other.

    A part that does not publish a split adds nothing to it: LSPET has no test part, so LSPET and LSP together are tested on LSP's.
    For that, every part is made for every split, and is empty for those it does not publish. Of parts that are read by the same reader
    the ids begin with the part's number: 1/coco/7 and 2/coco/7.

    Args:
        parts: the data sets.
        repeats: how often each part is shown per epoch of training; by default once. Validation and test never repeat. Repeated pictures
            are kept in memory as often, and have ids that end with @2, @3, ...

    Raises: ConfigError if their keypoints differ, if there is not one repeat for each, or if parts repeat while none publishes a
        validation part: one cut from the training part would count pictures as often.
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
        kinds = [(type(part), getattr(part, "name", "")) for part in parts]
        self._prefixes = [f"{number}/" if kinds.count(kind) > 1 else "" for number, kind in enumerate(kinds, start=1)]
        self.samples = [
            (number, index, turn)
            for number, (part, turns) in enumerate(zip(parts, self.repeats, strict=True))
            for turn in range(1, turns + 1)
            for index in range(len(part))
        ]

    def _check_repeats(self) -> None:
        if len(self.repeats) != len(self.parts):
            raise ConfigError(f"data.repeats: {len(self.repeats)} numbers for {len(self.parts)} parts; give one for each")
        if max(self.repeats) > 1 and "validation" not in self.splits:
            raise ConfigError(
                f"data.repeats: {list(self.repeats)}, but no part publishes a validation part, and one cut from repeated pictures would "
                "count them as often; let a part publish one, such as lsp with validation_count: 200, or repeat nothing"
            )

    @property
    def splits(self) -> tuple[Split, ...]:
        """Every split that some part publishes."""
        return self._splits

    def signature(self) -> str | None:
        """Of all parts together; None if one of them has none."""
        signatures = [part.signature() for part in self.parts]
        return None if None in signatures else files_signature([], signatures, self.repeats)

    def groups(self) -> Sequence[str]:
        """Those of the parts; where a part has none, each sample is its own."""
        by_part = [part.groups() or list(map(str, range(len(part)))) for part in self.parts]
        return [f"{number}/{by_part[number][index]}" for number, index, _ in self.samples]

    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`, counted through all parts."""
        number, of_part, turn = self.samples[index]
        sample = self.parts[number][of_part]
        return replace(sample, id=self._prefixes[number] + sample.id + (f"@{turn}" if turn > 1 else ""))

    def __len__(self) -> int:
        return len(self.samples)


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


def flic(split: Split, /, *, root: str = "FLIC", limit: Annotated[int, Ge(1)] | None = None) -> PosePictures:
    """5,003 film stills with the upper body of one person each, 11 keypoints (Sapp & Taskar, MODEC, CVPR 2013).

    x and y in `examples.mat` count from 1; here from 0. Those that are NaN, or more than two pixels outside of their picture, are not
    labelled. Frames of one film (`moviename`) are never divided between training and validation. Whom a still with several people means
    can be told by its torso box, which is not used here: such stills are harder for us than for methods that are given the box.

    Args:
        root: folder with `examples.mat` and `images/`, as released; relative ones are below TOOLKIT_DATA.
        limit: keep only the first so many samples of each part, to try something out.

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
    points, info = (coords - 1).astype(np.float32), pose_info(FLIC_KEYPOINTS)
    films = arrays["examples.moviename"][chosen].tolist() if "examples.moviename" in arrays else None
    return PosePictures(
        "flic", info, files[:limit], points[:limit], *2 * (labelled[:limit],), source, unlabel_outside=True, groups=films and films[:limit]
    )


_FLIC_COLUMNS = {
    "lsho": 0, "lelb": 1, "lwri": 2, "rsho": 3, "relb": 4, "rwri": 5, "lhip": 6, "rhip": 9, "leye": 12, "reye": 13, "nose": 16,
}  # fmt: skip
"""Which of the 29 columns of `coords` FLIC's names stand for; the others are empty in the released file."""
