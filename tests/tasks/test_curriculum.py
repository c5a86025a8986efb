"""The curriculum: goals counted together however they are said, and which of them are tried next."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.curriculum import Curriculum, Settings
from tasks.goal_text import goal_of, same
from tasks.setter import Proposal, Tried


def tries(instruction: str, outcomes: str, start: str = "") -> list[Tried]:
    """Tries of an instruction: + judged a success, - a failure, ? not scored."""
    verdict = {"+": True, "-": False, "?": None}
    return [Tried(f"{start}{instruction}-{i}", instruction, verdict[mark]) for i, mark in enumerate(outcomes)]


def proposals(*instructions: str) -> list[Proposal]:
    return [Proposal(text, 500) for text in instructions]


# Goals


def test_a_goal_is_the_same_however_it_is_said() -> None:
    goal = goal_of("doom", "Please grab the red key")
    assert (goal.text, goal.verb, goal.read) == ("pick up red key", "pick_up", True)
    assert goal == goal_of("doom", "pick up the red key")
    assert goal != goal_of("doom", "pick up the blue key")
    both = goal_of("doom", "get the blue key, then go to the green torch")
    assert (both.text, both.verb) == ("pick up blue key then go to green torch", "pick_up+go_to")
    assert goal_of("playroom", "stack the red box on the blue box").verb == "stack"


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Feed the cows!", "feed the cow", True),
        ("light the torches", "light a torch", True),
        ("press button 1", "press button 2", False),
        ("lock the chest", "unlock the chest", False),
        ("go left", "go right", False),
        ("paint it red", "paint it blue", False),
        ("feed the cow", "feed the cow twice", False),
        ("follow cow then sheep", "follow sheep then cow", False),
    ],
)
def test_what_no_grammar_reads_is_the_same_but_for_the_forms_of_its_words(one: str, other: str, alike: bool) -> None:
    a, b = goal_of("my_game", one), goal_of("my_game", other)
    assert not a.read
    assert same(a, b) == alike
    archive = Curriculum("my_game", [*tries(one, "+"), *tries(other, "-", "x")])
    assert len(archive.standings()) == (1 if alike else 2)


# Goals of elsewhere


def test_a_goal_that_succeeded_elsewhere_is_remembered_in_its_own_words() -> None:
    archive = Curriculum(
        "doom", [*tries("grab the red key", "+-"), *tries("look up", "++++++++"), *tries("shoot", "--")]
    )
    assert archive.remembered(5) == ["grab the red key"]  # what is mastered is not, nor what never succeeded
    assert archive.remembered(5, besides=["pick up the red key"]) == []
    assert archive.remembered(0) == []


def test_remembered_goals_are_those_met_often_and_their_verbs_count_alike() -> None:
    archive = Curriculum("doom", [
        *tries("press the switch", "+-"), *tries("pick up the red key", "+-"),
        *tries("pick up the blue key", "+-" * 10),
    ])  # fmt: skip
    first = Counter(archive.remembered(1, seed)[0] for seed in range(300))
    assert archive.remembered(1, 7) == archive.remembered(1, 7)
    assert first["pick up the blue key"] > 2 * first["pick up the red key"] > 0
    assert 100 < first["press the switch"] < 220


# Levels


def test_levels_are_of_the_kinds_where_there_is_most_to_learn() -> None:
    archive = Curriculum("doom")
    kinds = ("doom-room", "doom-vault")
    assert set(archive.levels(kinds, 60, 1)) == set(kinds)  # nothing is known of either
    assert archive.levels(kinds, 60, 1) == archive.levels(kinds, 60, 1)
    archive.add(replace(one, kind="doom-room") for one in tries("look down", "+" * 20))
    archive.add(replace(one, kind="doom-vault") for one in tries("press the switch", "+-" * 10))
    counts = Counter(archive.levels(kinds, 400, 2))
    assert counts["doom-vault"] > 4 * counts["doom-room"] > 0
    assert archive.levels(("doom-room",), 3) == ["doom-room"] * 3


# Where goals stand


def test_tries_are_counted_by_goal_once_and_only_as_judged() -> None:
    archive = Curriculum("doom", tries("pick up the red key", "+-?"))
    archive.add(tries("pick up the red key", "+-?"))  # the same tries again
    archive.add(tries("grab the red key", "+", "later"))
    (standing,) = archive.standings()
    assert (standing.tries, standing.successes, standing.state) == (3, 2, "learning")
    assert len(archive.tried) == 4
    assert archive.skills() == {"pick_up": pytest.approx(3 / 5)}
    assert standing.competence == pytest.approx((2 + 2 * 3 / 5) / 5, abs=0.01)


def competences(archive: Curriculum, *instructions: str) -> list[float]:
    return [archive.standing(text).competence for text in instructions]


def test_competence_is_taken_from_goals_of_near_meanings_and_follows_the_tries() -> None:
    assert competences(Curriculum("doom"), "go to the imp") == [0.5]
    archive = Curriculum("doom", [*tries("pick up the red key", "-" * 10), *tries("look up", "+" * 10)])
    red, blue, demon, down = competences(
        archive, "pick up the red key", "pick up the blue key", "go to the red demon", "look down"
    )
    assert 0.0 < red < blue < demon < down < 1.0
    archive.add(tries("pick up the red key", "+" * 30, "later"))
    assert competences(archive, "pick up the red key")[0] > red + 0.5


def test_a_world_without_a_grammar_has_competences_of_near_words_too() -> None:
    archive = Curriculum("my_game", [*tries("feed the cow", "+" * 8), *tries("build a bridge", "-" * 8)])
    cow, sheep, tower = competences(archive, "feed the cow", "feed the sheep", "build a tower")
    assert cow > sheep > 0.6 > 0.4 > tower
    assert competences(archive, "zxqv the wqzp")[0] == pytest.approx(0.5, abs=0.15)  # means nothing that was tried


def test_what_can_neither_always_nor_never_be_done_weighs_most_and_the_new_gets_a_bonus() -> None:
    outcomes = {"go to the imp": "+" * 12, "face the imp": "+-" * 6, "touch the imp": "-" * 7}
    archive = Curriculum("doom", [one for text, marks in outcomes.items() for one in tries(text, marks)])
    weight = {text: archive.standing(text).weight for text in (*outcomes, "face the torch")}
    assert weight["face the torch"] > weight["face the imp"] > max(weight["go to the imp"], weight["touch the imp"])
    archive.add(tries("touch the imp", "-", "one more"))
    assert archive.standing("touch the imp").state == "retired"
    assert archive.standing("touch the imp").weight == 0.0
    archive.add(tries("touch the torch", "?" * 20))
    assert archive.standing("touch the torch").state == "new"  # nothing is known of it


# Choices


def test_near_duplicates_and_what_is_retired_are_left_out() -> None:
    archive = Curriculum("doom", tries("touch the imp", "-" * 8))
    given = proposals("go to the imp", "walk to the imp", "touch the imp", "face the imp", "go to the imp")
    chosen = archive.choose(given, 5)
    assert sorted(choice.proposal.instruction for choice in chosen) == ["face the imp", "go to the imp"]
    elsewhere = [Proposal("go to the imp", 500, seed=seed) for seed in (1, 1, 2)]
    assert len(archive.choose(elsewhere, 5)) == 2  # the same goal in two levels


def test_rehearsal_has_its_share_and_the_rest_goes_by_weight() -> None:
    archive = Curriculum(
        "doom", [*tries("look down", "+" * 20), *tries("face the imp", "+-" * 10), *tries("go to the imp", "-" * 7)],
        Settings(rehearsal=0.2),
    )  # fmt: skip
    given = proposals("look down", "go to the imp", "face the imp")
    picked: Counter[str] = Counter()
    for seed in range(1000):
        (choice,) = archive.choose(given, 1, seed)
        assert choice.rehearsal == (choice.proposal.instruction == "look down")
        picked[choice.proposal.instruction] += 1
    assert 160 < picked["look down"] < 240
    face, go = (archive.standing(text).weight for text in ("face the imp", "go to the imp"))
    share = picked["face the imp"] / (picked["face the imp"] + picked["go to the imp"])
    assert share == pytest.approx(face / (face + go), abs=0.05)
    assert archive.choose(given, 3, 5) == archive.choose(given, 3, 5)
    unworthy = [len(archive.choose(proposals("look down"), 1, seed)) for seed in range(100)]
    assert 5 < sum(unworthy) < 40  # what is mastered is tried as a rehearsal alone


# Its file


def test_an_archive_goes_on_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "run" / "tasks.jsonl"
    archive = Curriculum("doom", tries("touch the imp", "-?+"), Settings(retire=3))
    archive.add([Tried("x", "use its key on the red door", True, 88.5, "doom-vault/0/1", 2)])
    archive.save(path)
    again = Curriculum.load(path)
    assert (again.world, again.settings, again.tried) == (archive.world, archive.settings, archive.tried)
    assert again.standings() == archive.standings()
    again.add(archive.tried)
    again.save(path)
    assert len(path.read_text().splitlines()) == 5
    assert [file.name for file in path.parent.iterdir()] == ["tasks.jsonl"]
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError, match="line 5"):
        Curriculum.load(path)
    path.write_text('{"id": "a", "instruction": "go", "success": true}\n')
    with pytest.raises(ValueError, match="no archive"):
        Curriculum.load(path)
    path.write_text("")
    with pytest.raises(ValueError, match="no archive"):
        Curriculum.load(path)


def test_a_verb_whose_successes_are_not_believed_is_chosen_rarely_but_not_never() -> None:
    archive = Curriculum("doom", [*tries("open the door", "+-"), *tries("press the switch", "+-", "x")])
    offered = proposals("open the door", "press the switch")

    def pressed(trust: dict[str, float] | None) -> int:
        chosen = [archive.choose(offered, 1, seed, trust)[0] for seed in range(300)]
        return sum(one.standing.goal.verb == "press" for one in chosen)

    assert 110 < pressed(None) < 190
    assert pressed({"open": 1.0, "press": 1.0}) == pressed(None)
    assert 5 < pressed({"press": 0.0}) < 60
    assert archive.standing("press the switch").weight > 1.0  # its standing stays as it is
