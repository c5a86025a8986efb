"""`Mix`: how often a frame carries which text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mix:
    """How often a frame carries what, and with which weight its tokens count. A recipe's `mix` has the same fields."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    goals: int = 4  # other goals of a frame
    points: int = 0  # things that are only to be found in the frame, in worlds whose teacher does not think aloud
    standing: int = 0  # things of a frame that are only to be found, each told from one alike by where it stands
    unclear: float = 0.0  # of the frames with two colours of a kind come with an instruction that names the kind alone
    steps: float = 0.25  # of the frames carry two of them as steps of one instruction
    colours: float = 0.1  # of the other goals tell the thing by its colour alone, where that is enough
    questions: int = 2
    memory: float = 0.15  # of the questions are about a memory
    exits: float = 1.0  # of the frames with exits are asked for them
    captions: float = 0.4
    proposals: float = 0.4
    own: float = 1.0  # the weight of the own goal's text
    starts: float = 0.12  # of the frames are the first of their episode: there nothing is left to copy
    turns: float = 0.3  # of the frames are about a change of what one does: few are, and all depends on them
    reworded: float = 0.5  # of the own goals come in other words than they were recorded with
    forgotten: float = 0.5  # of the own goals come once more, without the last thought
    silent: float = 0.25  # of the own goals come without thoughts
    fresh: float = 0.2  # of the other goals, and of own ones without thoughts, come without a past
    pictures: float = 0.04  # of the other goals show the thing
    switches: float = 0.0  # of the frames with doors, gates or switches are asked where the switch is
    plans: float = 0.0  # of the frames come with a goal that is taken apart
    unknown: float = 0.0  # of the frames come with an instruction that nobody understands
    meant: float = 0.0  # of the instructions have words that are read by their meaning alone
    blur: float = 0.0  # how far the meaning of a word is moved towards that of another one, at most, in its own lengths
    deaf: float = 0.0  # of the frames come without any words of what is asked for
    gamma: float = 1.0  # the weight of an action that repeats the last one, to the power of how often it did
