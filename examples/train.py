"""Train a model of your own: the expert plays, its episodes are recorded, and a small network learns to do the same.

    python examples/train.py

It learns the turn of the expert's decisions from single frames, in seconds, to show the parts: recorder, dataset, codec
and policy. `agent train` has the real recipes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from agent import doom_codec as codec
from agent.loop.players import ScriptedPlayer
from agent.policy import Context, Decision, PolicySpec
from agent.view import View
from envs.doom.world import DoomWorld
from tasks import world_tasks
from tasks.expert_policy import ExpertPolicy
from tasks.play import play_task
from training.data.dataset import EpisodeDataset, Moment
from training.data.episodes import Recorder

SUITE = "doom-basic"


class Turner(nn.Module):
    """Frames uint8 (B, 120, 160, 3) to the logits of how far to turn, (B, 17)."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, 16, 8, 4), nn.ReLU(), nn.Conv2d(16, 32, 4, 2), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d((1, 8)), nn.Flatten(), nn.LazyLinear(len(codec.TURNS)))

    def forward(self, frames: Tensor) -> Tensor:
        logits: Tensor = self.net(frames.permute(0, 3, 1, 2).float() / 255.0)
        return logits


class TurnerPolicy:
    """Turns as the network says, and walks on."""

    spec = PolicySpec(View((120, 160)), chunk=codec.CHUNK)

    def __init__(self, model: Turner) -> None:
        self.model = model.eval()

    @torch.inference_mode()
    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        frames = torch.stack([torch.from_numpy(context.frames[-1]) for context in contexts])
        turns = self.model(frames).argmax(-1).tolist()
        return [codec.decode(codec.tokens_of(turn=codec.TURNS[turn], forth=1)) for turn in turns]


def record(folder: Path, episodes: int) -> None:
    """Let the expert play, and record what it sees and does."""
    world = DoomWorld()
    for index, task in enumerate(world_tasks.training(SUITE).tasks(seed=0, n=episodes, evaluation=False)):
        player = ScriptedPlayer(ExpertPolicy().start(task))
        recorder = Recorder(folder / f"episode-{index:03}", task=task, policy="expert")
        play_task(world, player, task, subscribers=[recorder])
    world.close()


def batch(moments: Sequence[Moment]) -> tuple[Tensor, Tensor]:
    """Frames (B, H, W, 3) and the bin of each decision's turn (B,)."""
    frames = torch.stack([torch.from_numpy(moment.frame) for moment in moments])
    return frames, torch.tensor([codec.encode(moment.actions)[0] for moment in moments])


def train(folder: Path, epochs: int = 3) -> tuple[Turner, list[float]]:
    """The network and the mean loss of every epoch, nats a decision."""
    torch.manual_seed(0)
    data = cast(Dataset[Moment], EpisodeDataset(folder, cache=True))  # it has what a DataLoader asks for
    loader = DataLoader(data, batch_size=32, shuffle=True, collate_fn=batch)
    model, losses = Turner(), []
    model(torch.zeros(1, 120, 160, 3, dtype=torch.uint8))  # the last layer takes its size from the first batch
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        total = 0.0
        for frames, turns in loader:
            loss = nn.functional.cross_entropy(model(frames), turns)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        losses.append(total / len(loader))
    return model, losses


def main(folder: Path = Path("runs/turner"), episodes: int = 20) -> None:
    record(folder / "episodes", episodes)
    model, losses = train(folder / "episodes")
    print("loss", *(f"{loss:.3f}" for loss in losses))
    torch.save(model.state_dict(), folder / "turner.pt")


if __name__ == "__main__":
    main()
