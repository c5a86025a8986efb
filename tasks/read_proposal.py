"""`read_proposal`: what a model writes as a task, as a proposal, if the world's language reads it."""

from __future__ import annotations

from tasks import world_tasks
from tasks.setter import Proposal, Rejected, SetterView


def read_proposal(view: SetterView, text: str, seconds: float, why: str, kind: str = "") -> Proposal | Rejected:
    """A proposal for the level that is in view, or for a new one of a kind, or why the text is none. `seconds`: of each
    step of the task.

    Players are taught the language of the world that they play in, so an instruction that it doesn't read is rejected.
    A world without a language takes any instruction.
    """
    language = world_tasks.of(view.world).language
    meaning = None if language is None else language.read(text)
    if language is not None and meaning is None:
        return Rejected(text, f"the grammar of {view.world} doesn't read it")
    steps = 1 + len(getattr(meaning, "then", ()))
    try:
        return Proposal(text, round(steps * seconds * view.tick_hz), why, kind=kind)
    except ValueError as error:
        return Rejected(text, str(error))
