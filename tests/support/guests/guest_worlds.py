"""Worlds that run in a guest interpreter of the bridge's tests: numpy and Python 3.9 are all they need."""

import atexit
import os
import pathlib
import sys
import tempfile
import time

import numpy as np


class Painter:
    """A new-style world of plain Python: every frame shows episode, tick and what the hands did. Ends after `length`.

    `reset(options={"episode": N})` numbers the episode.
    """

    tick_hz = 50.0
    deterministic = True
    keys = ("KeyW", "KeyA", "KeyS", "KeyD")
    buttons = ("left",)
    max_look = 30.0

    def __init__(self, length=40, height=24, width=32):
        self.frame_size = (height, width)
        self.length = length

    def reset(self, seed=None, options=None):
        options = options or {}
        if set(options) - {"episode"}:
            raise ValueError("painter: it knows the option episode alone")
        self.rng = np.random.RandomState(seed % 2**32)
        self.episode, self.tick = options.get("episode", 0), 0
        self.where, self.colour = self.rng.randint(0, 20, 2), self.rng.randint(1, 200, 3)
        return self.observe(0), {"state": {"tick": self.tick}, "pid": os.getpid()}

    def step(self, action):
        self.tick += 1
        keys = action.get("keys", [])
        self.where[0] = (self.where[0] + ("KeyS" in keys) - ("KeyW" in keys)) % 20
        self.where[1] = (self.where[1] + ("KeyD" in keys) - ("KeyA" in keys)) % 28
        look = round(action.get("look", (0, 0))[0])
        observation = self.observe(look)
        return observation, 1.0, self.tick >= self.length, False, {"state": {"tick": self.tick}, "pid": os.getpid()}

    def observe(self, look):
        pixels = np.empty((*self.frame_size, 3), np.uint8)
        pixels[:] = self.colour
        pixels[self.where[0] : self.where[0] + 4, self.where[1] : self.where[1] + 4] = 255
        pixels[0, :3, 0] = self.episode % 256, self.tick % 256, look % 256
        return {"pixels": pixels}


class Gymlike:
    """Old gym's calls: `reset` gives the observation alone, `step` four things; frames have their channels first."""

    class Box:
        low, high, shape, dtype = 0, 255, (3, 16, 20), np.uint8

    class MultiDiscrete:
        nvec = np.array([3, 5])

    observation_space, action_space = Box(), MultiDiscrete()

    def seed(self, seed):
        self.number = seed % 100

    def reset(self):
        self.tick = 0
        return self.frame()

    def step(self, action):
        assert isinstance(action, np.ndarray), action
        self.tick += 1
        info = {"TimeLimit.truncated": True} if self.tick == 9 else {}
        return self.frame(), np.float32(action.sum()), self.tick in (5, 9), info

    def frame(self):
        picture = np.zeros((3, 16, 20), np.uint8)
        picture[0], picture[1], picture[2, 0] = self.number, self.tick, 7
        return picture


class Echo:
    """Answers with a large frame that is painted all over with the number of the request."""

    def __init__(self, height=480, width=640):
        self.shape = (height, width, 3)
        self.served = 0

    def paint(self, number, seconds=0.0):
        time.sleep(seconds)
        self.served += 1
        frame = np.full(self.shape, number % 251, np.uint8)
        return {"frame": frame, "number": number, "served": self.served, "small": np.array([number], np.int64)}

    def version(self):
        return [list(sys.version_info[:2]), np.__version__, sys.implementation.name]

    def say(self, text):
        print(text)

    def back(self, value):
        return value

    def leave_a_note(self, path):
        """Write to a file, as late as a Python can."""
        atexit.register(pathlib.Path(path).write_text, "bye")

    def fail(self):
        raise KeyError("no such thing")

    def leave(self):
        print("I go now")
        os._exit(3)

    def litter(self):
        """Leave a temporary folder behind, as games do; its path."""
        return tempfile.mkdtemp()

    def child(self):
        """Start a process of our own, as Minecraft starts Java; its id."""
        pid = os.fork()
        if pid == 0:
            time.sleep(600)
            os._exit(0)
        return pid

    def odd(self):
        """Things that msgpack does not know."""
        scalars = [np.float32(0.5), np.int64(-3), np.bool_(True)]
        return {"scalars": scalars, "set": {3, 1}, "object": object(), 7: np.array("text"), "empty": np.zeros((0, 4))}

    def huge(self, size):
        return b"x" * size


class Broken:
    def __init__(self):
        print("looking for the jar")
        raise OSError("there is no jar")


class Silent:
    """Never comes to life."""

    def __init__(self):
        time.sleep(600)
