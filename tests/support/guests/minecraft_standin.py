"""Stands in for Minecraft's own process; everything else of MineDojo is the real thing.

`Game` takes the place of MineDojo's BridgeEnv, which starts Java and talks to it: it gets the mission's XML and lines
of Malmo commands, and gives the raw observations that the game would send.
"""

import minedojo
import minedojo.sim.sim
import numpy as np
from lxml import etree
from minedojo.sim.bridge.bridge_env.bridge_env import StepTuple
from minedojo.sim.mc_meta import mc

FOV = 70.0
_SLOTS = {"slot.weapon.mainhand": 0, **{f"slot.hotbar.{n}": n for n in range(1, 9)}}
_SLOTS.update({f"slot.inventory.{n}": n + 9 for n in range(27)})


def no_statistics():
    """All that Minecraft counts, at zero."""
    counted = {}
    for *path, last in mc.ALL_STAT_KEYS:
        inner = counted
        for name in path:
            inner = inner.setdefault(name, {})
        inner[last] = 0
    return counted


class Game:
    items = ()
    length = 10**9

    def __init__(self, *, seed=None, **_):
        self.rng = np.random.default_rng(seed)
        self.is_terminated = True
        self.commands = []
        self.statistics = no_statistics()

    def reset(self, episode, missions):
        mission = missions[0]
        find = etree.XPath("//*[local-name() = $name]/text()")
        self.width, self.height = (int(find(mission, name=name)[0]) for name in ("Width", "Height"))
        corners = [corner.attrib for corner in etree.XPath("//*[local-name() = 'Grid']/*")(mission)]
        self.grid = [[int(corner[axis]) for corner in corners] for axis in "xyz"] if corners else []
        self.is_terminated, self.tick, self.digs = False, 0, 0
        self.place, self.yaw, self.pitch = np.zeros(2), 0.0, 0.0
        self.pillars = self.rng.uniform(0, 360, 6)
        self.slots = [["air", 0] for _ in range(41)]
        for slot, name, quantity in self.items:
            self.slots[slot] = [name, quantity]
        return {0: self.observe()}

    def step(self, actions):
        if self.is_terminated:  # in the words of the real one
            raise RuntimeError("Attempted to step an environment server with done=True")
        did = {}
        for line in actions[0].splitlines():
            verb, _, rest = line.partition(" ")
            if rest not in ("0", "none", ""):
                did[verb] = rest
        self.commands.append(did)
        pitch, yaw = (float(angle) for angle in did.get("camera", "0 0").split())
        self.pitch = float(np.clip(self.pitch + pitch, -90, 90))
        self.yaw = (self.yaw + yaw + 180) % 360 - 180
        ahead = np.array([-np.sin(np.radians(self.yaw)), np.cos(np.radians(self.yaw))])
        left = np.array([ahead[1], -ahead[0]])
        self.place = self.place + 0.2 * (
            ahead * (("forward" in did) - ("back" in did)) + left * (("left" in did) - ("right" in did))
        )
        self.use_hands(did)
        self.tick += 1
        self.is_terminated = self.tick >= self.length
        return StepTuple(True, {0: self.observe()})

    def use_hands(self, did):
        if "attack" in did:  # every third stroke digs up a block
            self.digs += 1
            if self.digs % 3 == 0:
                self.add("dirt", 1)
        if "drop" in did:
            self.take(0)
        if "equip" in did:
            slot = self.find(did["equip"])
            self.slots[0], self.slots[slot] = self.slots[slot], self.slots[0]
        if "place" in did:
            self.take(self.find(did["place"]))
        for verb in ("craft", "craftNearby", "smeltNearby"):
            if verb in did:
                book = mc.SMELTING_RECIPES_BY_OUTPUT if verb == "smeltNearby" else mc.CRAFTING_RECIPES_BY_OUTPUT
                recipe = book[did[verb]][0]
                for name, quantity in recipe["ingredients"].items():
                    for _ in range(int(quantity)):
                        self.take(self.find(name))
                self.add(did[verb], int(recipe["outputCount"]))
        if did.get("chat", "").startswith("/replaceitem"):
            _, _, _, slot, name, *_ = did["chat"].split()
            self.slots[_SLOTS[slot]] = ["air", 0] if name.endswith(":air") else [name.split(":")[1], 1]

    def find(self, name):
        return next(slot for slot, (item, _) in enumerate(self.slots) if item == name)

    def add(self, name, quantity):
        same = [slot for slot in range(36) if self.slots[slot][0] == name and self.slots[slot][1] < 64]
        slot = (same or [slot for slot in range(36) if self.slots[slot][0] == "air"])[0]
        self.slots[slot] = [name, self.slots[slot][1] + quantity]

    def take(self, slot):
        name, quantity = self.slots[slot]
        self.slots[slot] = [name, quantity - 1] if quantity > 1 else ["air", 0]

    def observe(self):
        slot = {"inventory": "inventory", "variant": 0, "max_durability": -1, "cur_durability": -1}
        names = [name for name, _ in self.slots]
        voxels = []
        if self.grid:
            (x, xx), (y, yy), (z, zz) = self.grid
            for height in [h for _ in range(z, zz + 1) for h in range(y, yy + 1) for _ in range(x, xx + 1)]:
                solid = height < 0
                voxels += ["grass" if solid else "air", 0, solid, True, solid, False, solid, False, solid, 0.0]
        return {
            **self.statistics,
            "voxels": voxels,
            "pov": self.picture()[::-1].tobytes(),  # the game sends the lowest row first
            "inventory": [{**slot, "name": name, "quantity": quantity} for name, quantity in self.slots],
            "nearby_crafting_table": "crafting_table" in names,
            "nearby_furnace": "furnace" in names,
            "xpos": self.place[0], "ypos": 64.0, "zpos": self.place[1], "yaw": self.yaw, "pitch": self.pitch,
            "life": 20.0, "food": 20.0, "saturation": 5.0, "armor": 0.0, "air": 300, "xp": 0,
            "is_sleeping": False, "is_alive": True, "time_since_death": 100,
            "biome_id": 1, "sun_brightness": 1.0, "sky_light_level": 1.0, "light_level": 15, "is_raining": 0,
            "can_see_sky": 1, "biome_rainfall": 0.4, "biome_temperature": 0.8, "sea_level": 63,
            "commands": self.commands[-3:],
        }  # fmt: skip

    def picture(self):
        """Sky, ground with stripes that come nearer, pillars in fixed bearings, the hotbar and a crosshair."""
        height, width = self.height, self.width
        frame = np.empty((height, width, 3), np.uint8)
        horizon = int(np.clip(height / 2 - self.pitch / FOV * width, 0, height))
        frame[:horizon] = 135, 206, 235
        below = np.arange(height - horizon)
        stripes = ((self.place.sum() + 200.0 / (below + 4)) % 2 < 1)[:, None, None]
        frame[horizon:] = np.where(stripes, (94, 140, 60), (84, 126, 54))
        for number, bearing in enumerate(self.pillars):
            x = int(width / 2 + ((bearing - self.yaw + 180) % 360 - 180) / FOV * width)
            top = max(0, horizon - height // 4)
            frame[top : max(0, horizon + 4), max(0, x) : max(0, x + width // 16)] = 90 + 20 * number, 70, 50
        for slot in range(9):
            name, _ = self.slots[slot]
            x = width // 2 + (slot * 8 - 36) * width // 128
            shade = sum(name.encode()) % 200 + 30
            frame[-height // 12 : -2, x : x + 6 * width // 128] = (60, 60, 60) if name == "air" else (shade, 110, 40)
        frame[height // 2, width // 2 - 2 : width // 2 + 3] = frame[height // 2 - 2 : height // 2 + 3, width // 2] = 255
        return frame


def make(task_id, items=(), length=10**9, **options):
    """`minedojo.make` with the stand-in for the game. `items`: [slot, name, quantity] in the inventory at the start."""
    Game.items, Game.length = items, length
    minedojo.sim.sim.BridgeEnv = Game
    return minedojo.make(task_id, **options)
