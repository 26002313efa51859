"""`toolkit saliency-samples`: a subcommand of the plugin's own. `toolkit --help` lists it without importing this file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def samples(
    out: Annotated[Path, typer.Argument(help="The PNG file to write.")],
    count: Annotated[int, typer.Option(min=1, help="How many samples.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Another one gives other samples.")] = 0,
) -> None:
    """Draw samples of synthetic_blobs, each above its mask, into one picture."""
    import numpy as np
    from toolkit.data import write_png

    from toolkit_saliency.synthetic import SyntheticBlobs

    dataset = SyntheticBlobs("train", size=count, seed=seed)
    pairs = [(sample.image, np.repeat(sample.target.salient.numpy()[:, :, None] * 255, 3, axis=2)) for sample in dataset]
    write_png(out, np.concatenate([np.concatenate(pair) for pair in pairs], axis=1))
    print(f"wrote {count} samples to {out}")
