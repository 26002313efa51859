"""The other end of a torch peer, run as JOB PEER OVERRIDES: what the toolkit does to its own process is not done to this one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from peers.contender import AbsentError, Choice, Contender
from peers.job import Job, read_job


def main() -> None:
    """Answer every line of the standard input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the frameworks print is no answer
    try:
        contender = made(sys.argv[2], read_job(sys.argv[1], json.loads(sys.argv[3]), tuned=False))
    except AbsentError as absent:
        print(json.dumps({"absent": str(absent)}), file=answers, flush=True)
        return
    print(json.dumps({}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            choice = Choice(asked["workers"], asked["precision"])
            answer: dict[str, object] = {"images_per_s": contender.images_per_s(choice, asked["seconds"])}
        except Exception as error:  # the other side says it and goes on with what works
            answer = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        print(json.dumps(answer), file=answers, flush=True)


def made(peer: str, job: Job) -> Contender:
    """The peer's loop. Raises: AbsentError where it is not installed."""
    if peer == "pytorch":
        from peers.pytorch_loop import PytorchLoop

        return PytorchLoop(job)
    if peer == "timm":
        from peers.timm_loop import TimmLoop

        return TimmLoop(job)
    from peers.lightning_loop import LightningLoop

    return LightningLoop(job)


if __name__ == "__main__":
    main()
