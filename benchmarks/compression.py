"""What compressed frames cost in success: `small` on the same tasks, seeing frames as they are and through H.264.

    python benchmarks/compression.py --episodes 300

Every frame goes through the `compact` quality of recorded episodes (training/data/video.py) before the policy sees it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agent.policy import Context, Decision
from agent.small import load_small
from envs.doom.world import DoomWorld
from tasks.doom import suites
from training.data.video import VideoWriter, read_video
from training.evaluation.success import evaluate


def squeeze(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A frame as it comes back from a compact video."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.mp4"
        writer = VideoWriter(path, frame.shape[:2], 35.0, "compact")
        writer.add(frame, 0)
        writer.close(durable=False)
        frame_back: npt.NDArray[np.uint8] = read_video(path.read_bytes(), 35.0, frame.shape[:2], 1)[0][0]
        return frame_back


class Compressed:
    """`small` behind a video codec."""

    def __init__(self) -> None:
        self._policy = load_small()
        self.spec = self._policy.spec

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        return self._policy.act([replace(c, frames=(*c.frames[:-1], squeeze(c.frames[-1]))) for c in contexts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=300)
    parser.add_argument("--seed", type=int, default=13)
    args = parser.parse_args()
    tasks = list(suites.evaluation("doom-basic").tasks(args.seed, args.episodes))
    for name, load in (("as they are", load_small), ("through H.264", Compressed)):
        result = evaluate(tasks, load, DoomWorld)["policy"].to_json()
        low, high = result["ci"]
        print(f"frames {name:14s} success {100 * result['success']:.1f} % ({100 * low:.1f}–{100 * high:.1f})")


if __name__ == "__main__":
    main()
