"""Orders as people write them who were never told how to, with what each means. For evaluation alone.

They go beyond the held-out phrasings of tasks.doom.phrases in length, politeness, order of words and choice of words.
"""

from __future__ import annotations

from tasks.doom.language import Meaning

FREE: dict[str, Meaning] = {
    "would you be so kind as to fetch the red key?": Meaning("pick_up", "key", "red"),
    "there's a red key somewhere around here - bring it to me": Meaning("pick_up", "key", "red"),
    "i could really use that medikit over there": Meaning("pick_up", "medikit"),
    "the backpack must not stay on the floor": Meaning("pick_up", "backpack"),
    "lay your hands on the blue skull": Meaning("pick_up", "skull", "blue"),
    "a radiation suit would come in handy, go find one": Meaning("pick_up", "suit"),
    "make sure the yellow skull ends up in your pocket": Meaning("pick_up", "skull", "yellow"),
    "retrieve the green armour for the team": Meaning("pick_up", "armor", "green"),
    "see the blue key? it should be yours": Meaning("pick_up", "key", "blue"),
    "haul in the red orb": Meaning("pick_up", "orb", "red"),
    "face the blue pillar": Meaning("face", "column", "blue"),
    "let me see the green torch in the centre of the screen": Meaning("face", "torch", "green"),
    "turn around until the barrel is right in front of you": Meaning("face", "barrel"),
    "have your eyes rest upon the candelabra": Meaning("face", "candelabra"),
    "orient yourself so that the imp is dead ahead": Meaning("face", "imp"),
    "look straight at the red torch, nothing more": Meaning("face", "torch", "red"),
    "i'd like you to check out the lamp from where you stand": Meaning("face", "lamp"),
    "could you possibly walk across to the green column": Meaning("go_to", "column", "green"),
    "get yourself over beside the barrel": Meaning("go_to", "barrel"),
    "your destination is the red torch": Meaning("go_to", "torch", "red"),
    "meet me at the candelabra": Meaning("go_to", "candelabra"),
    "cross the room and stop at the dead tree": Meaning("go_to", "stump"),
    "please be a dear and wander to the lamp": Meaning("go_to", "lamp"),
    "navigate to where the evil eye stands": Meaning("go_to", "eye"),
    "close in on the tech pillar": Meaning("go_to", "pylon"),
    "we gather at the green column, come along": Meaning("go_to", "column", "green"),
    "put an end to the zombie": Meaning("shoot", "zombie"),
    "that imp has to die": Meaning("shoot", "imp"),
    "fill the cacodemon with lead": Meaning("shoot", "cacodemon"),
    "annihilate the imp, soldier": Meaning("shoot", "imp"),
    "the zombie is dangerous, so use your weapon on it": Meaning("shoot", "zombie"),
    "do away with the flying head": Meaning("shoot", "cacodemon"),
    "tilt your head back": Meaning("look_up"),
    "eyes to the sky": Meaning("look_up"),
    "what is above us? check the ceiling": Meaning("look_up"),
    "inspect the ground beneath you": Meaning("look_down"),
    "gaze down at your boots": Meaning("look_down"),
    "stay exactly where you are right now": Meaning("stand_still"),
    "somebody has to hit that button on the wall, do it": Meaning("press", "panel"),
    "give the switch a good push": Meaning("press", "panel"),
    "brush against the blue column": Meaning("touch", "column", "blue"),
    "rest your palm on the barrel": Meaning("touch", "barrel"),
}
