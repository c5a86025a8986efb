"""Any chat model as the thinker, judge and critic of a long errand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from agent.long.critic import ChatEyes
from agent.long.harness import LongPlanner
from agent.long.thinker import ChatThinker
from agent.models import Model
from agent.models.config import Settings
from agent.models.model import Circuit
from agent.models.openai import load_openai
from agent.talk.planner import DONE, SEEN, Situation
from tests.support.model_server import FakeServer, says, serving

NOW = Situation("take the key, then go home", frames=(np.zeros((24, 32, 3), np.uint8),))


def model_at(server: FakeServer) -> Model:
    backend = load_openai(f"toy@{server.url}", settings=Settings())
    return Model(backend, circuit=Circuit(clock=iter(range(10**6)).__next__))


def planned(**said: Any) -> Any:
    return says(json.dumps({"parts": [], "steps": [], "asks": [], "done": False, "say": "", "memory": "", **said}))


def last_text(server: FakeServer) -> str:
    """The words of the last message that the model was sent."""
    content = server.asked[-1]["messages"][-1]["content"]
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def test_a_chat_model_sets_goals_and_asks_its_tools_first() -> None:
    answers = (
        planned(asks=["look around"]),
        planned(parts=["take the key", "go home"], steps=["open the door"], memory="the key is near"),
        planned(parts=["take the key"], steps=["open the door"], done=True),
    )
    with serving(*answers) as server:
        planner = LongPlanner(ChatThinker(model_at(server)))
        plan = planner.plan(NOW)
        assert (plan.steps, plan.notes) == (("open the door",), "the key is near")
        assert "Answer to 'look around': ahead: not looked" in last_text(server)
        assert [goal.text for goal in planner.desk.goals.secondary] == ["take the key", "go home"]
        assert not planner.plan(NOW).done, "while steps are left the goal is not done"
        assert "secondary: take the key, then go home; tertiary: open the door" in last_text(server)
        planner.close()


def test_fresh_eyes_know_nothing_but_goal_and_frames() -> None:
    frames = [np.full((24, 32, 3), value, np.uint8) for value in range(0, 200, 10)]
    no = says(json.dumps({"yes": False, "why": "the door is shut"}))
    with serving(no) as server:
        eyes = ChatEyes(model_at(server), SEEN)
        opinion = eyes.reached("open the door", frames)
        assert opinion is not None
        assert (opinion.yes, opinion.why) == (False, "the door is shut")
        assert "open the door" in last_text(server)
        assert len(server.asked[-1]["messages"]) == 1
        assert sum("image" in json.dumps(part) for part in server.asked[-1]["messages"][0]["content"]) == 6
        critique = eyes.works("take the key", "open the door", frames)
        assert critique is not None
        assert not critique.yes
        assert eyes.reached("open the door", []) is None


def test_a_judge_that_does_not_answer_judges_nothing() -> None:
    thought = planned(steps=["open the door"])
    with serving(thought) as server, serving(says("no json at all")) as deaf:
        planner = LongPlanner(ChatThinker(model_at(server)), judge=ChatEyes(model_at(deaf), SEEN))
        planner.plan(NOW)
        planner.plan(Situation(NOW.goal, history=(("open the door", DONE),)))
        (ended,) = planner.desk.ended
        assert (ended.end, ended.verified) == ("done", None)
