"""Instructions in observations: `Words`, a space of texts, and the same as numbers, for libraries that take no text."""

from __future__ import annotations

import re
import string
import zlib
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.error import CustomSpaceError
from gymnasium.vector.utils import create_shared_memory

WORDS, LENGTH = 4096, 32
MOST_CHARACTERS = 400
CHARACTERS = frozenset(string.ascii_letters + string.digits + string.punctuation + " ")

_WORD = re.compile(r"\w+")


class Words(gymnasium.spaces.Text):
    """The space of instructions: up to MOST_CHARACTERS of CHARACTERS. `fit` makes one of any text."""

    def __init__(self) -> None:
        super().__init__(MOST_CHARACTERS, min_length=0, charset=CHARACTERS)

    @staticmethod
    def fit(text: str) -> str:
        return "".join(c if c in CHARACTERS else "?" for c in text)[:MOST_CHARACTERS]


@create_shared_memory.register(Words)
def _refuse(space: Words, n: int = 1, ctx: Any = None) -> Any:
    """AsyncVectorEnv of Gymnasium 1.4 reads texts from shared memory once, before there is any, so every instruction
    would be empty. It tells what this raises, and that shared_memory=False does without."""
    raise CustomSpaceError('instructions are no shared memory: shared_memory=False, or make it with instruction="ids"')


def word_ids(text: str) -> npt.NDArray[np.int32]:
    """The words of a text as int32 (LENGTH,): for each its place in a table of WORDS, found by hashing, from 1 on; 0
    behind the last word. Two words rarely share a place."""
    words = _WORD.findall(text.lower())[:LENGTH]
    ids = np.zeros(LENGTH, np.int32)
    ids[: len(words)] = [1 + zlib.crc32(word.encode()) % (WORDS - 1) for word in words]
    return ids


class InstructionIds(gymnasium.ObservationWrapper[Any, Any, Any]):
    """An environment whose observation has its `instruction` as `word_ids`."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        spaces = env.observation_space
        if not isinstance(spaces, gymnasium.spaces.Dict) or "instruction" not in spaces.spaces:
            raise ValueError(f"expected observations with an instruction, got {spaces}")
        ids = gymnasium.spaces.Box(0, WORDS - 1, (LENGTH,), np.int32)
        self.observation_space = gymnasium.spaces.Dict({**spaces.spaces, "instruction": ids})

    def observation(self, observation: Any) -> Any:
        return {**observation, "instruction": word_ids(observation["instruction"])}


class PixelsAlone(gymnasium.ObservationWrapper[Any, Any, Any]):
    """An environment whose observation is its picture, uint8 (H, W, 3)."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        assert isinstance(env.observation_space, gymnasium.spaces.Dict)
        self.observation_space = env.observation_space["pixels"]

    def observation(self, observation: Any) -> Any:
        return observation["pixels"]
