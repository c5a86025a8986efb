"""`small`: what it learns from is what it plays by, and a checkpoint that does not fit is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent import doom_codec as codec
from agent.policy import Context
from agent.sight import COLUMNS, ROWS
from agent.small import CheckpointError, SmallPolicy, load_small, token_ids, word_hashing
from agent.small.checkpoint import load_model, save_small
from agent.small.decoder import uniform_noise
from agent.small.draft import draft
from agent.small.greedy import PATIENCE, GreedyOutput, is_stuck, without_unlikely_ends
from agent.small.model import Encoded, SmallConfig, SmallModel
from agent.small.output_grammar import MASK, Output
from agent.small.place import read_place, write_place
from agent.small.prompt import Prompt, prompt_of
from agent.small.token_ids import ACT, CAPTION, GO, PLACE, SAY, STARTS, WORD_ID, say, spell
from agent.small.vocabulary import VOCABULARY
from envs.action import Action
from training.small.batches import Text, assemble, decision, words_of

TINY = SmallConfig(width=32, heads=2, layers=2, text_layers=1, channels=(16, 32))


@pytest.fixture
def model() -> SmallModel:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return SmallModel(TINY).eval()


def frames(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, 120, 160), dtype=torch.uint8, generator=generator)


def played() -> list[Context]:
    """Contexts in the middle of play, of different lengths."""
    pictures = frames(3).permute(0, 2, 3, 1).numpy()
    chunks = [codec.decode(codec.tokens_of(turn=t, forth=1)).actions for t in (16.0, -4.0, 0.0)]
    thoughts = ("step 1 go to red key (40, 20)", "", "look around 3 (7, 12)")
    return [
        Context((pictures[0],), "go to the red key"),
        Context(tuple(pictures), "shoot the imp, please", tuple(chunks[:2]), thoughts[:2]),
        Context(tuple(pictures), "", tuple(chunks), thoughts, picture=pictures[1]),
    ]


def replayed(turn: Output) -> Text:
    """What the trainer makes of a turn that was written."""
    again, choices = Output(turn.role, turn.think), []
    for token in turn.tokens:
        choices.append(again.choice)
        again.add(token)
    return Text([turn.role, *turn.tokens], choices, [1.0] * len(choices))


@torch.no_grad()
def test_the_trainer_and_the_player_see_the_same_thing(model: SmallModel) -> None:
    """What the player writes has, token by token, the log-probability that the trainer's packed batch gives it."""
    contexts = played()
    policy = SmallPolicy(model, device="cpu", think=6)
    memory = policy._encode([c.frames[-1] for c in contexts], [prompt_of(c) for c in contexts])
    turns = [GreedyOutput(ACT, 6) for _ in contexts]
    written = policy.decoder.write(memory, turns)
    pictures = np.stack([c.frames[-1] for c in contexts])
    rows = [[Prompt(), prompt_of(c)] for c in contexts]  # packed behind another prompt
    texts = [[words_of(CAPTION, spell("red key")), replayed(turn)] for turn in turns]
    batch = assemble(pictures, rows, texts)
    text, pack = model.read(batch.prompt)
    hidden = model.write(Encoded(model.see(batch.frames), text, pack), batch.tokens, batch.order, batch.pack)
    logits = model.logits(hidden[batch.rows, batch.columns]) + MASK[batch.choices]
    logp = logits.log_softmax(-1)[torch.arange(len(batch.targets)), batch.targets]
    for row, scores in enumerate(written):
        trained = logp[batch.rows == row].tolist()[len(texts[row][0].choices) :]
        assert trained == pytest.approx(scores, abs=1e-4)


def test_a_batch_decides_as_one_by_one(model: SmallModel) -> None:
    policy = SmallPolicy(model, device="cpu")
    contexts = played()
    assert policy.act(contexts) == [policy.act([c])[0] for c in contexts]


@pytest.mark.parametrize("guidance", [0.0, 0.5])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_guess_changes_nothing_but_the_time(model: SmallModel, temperature: float, guidance: float) -> None:
    policy = SmallPolicy(model, device="cpu", think=4)
    asked = prompt_of(played()[1])
    both = [asked, replace(asked, request=())] if guidance else [asked]
    memory = policy._encode([played()[1].frames[-1]] * len(both), both)
    noise = uniform_noise([3], 32)

    def written(guess: Sequence[int]) -> tuple[list[int], list[float]]:
        turns = [GreedyOutput(ACT, 4)]
        scores = policy.decoder.write(memory, turns, [temperature], noise, guidance=guidance, draft=guess)
        return turns[0].tokens, scores[0]

    tokens, scores = written(())
    last = draft(asked, 4)
    assert last.count(GO) == 1
    first = draft(Prompt(["get", "the", "red", "key"]), 4)
    assert (say(first), first.count(SAY)) == ("ok red key", 1)
    longer = [*tokens[:2], *spell("red key red key"), *tokens[tokens.index(GO) :]]
    talking = [*tokens[:2], SAY, *spell("ok red key"), *tokens[tokens.index(GO) :]]
    for guess in (tokens, last, first, longer, talking, [*tokens[:2], *tokens[tokens.index(GO) :]]):
        again, same = written(guess)
        assert again == tokens
        assert same == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize(
    "instruction", ["pick up the red key", "make your way to the imp", "shoot the imp, then look up"]
)
def test_what_is_said_at_first_is_the_same_with_a_guess(instruction: str) -> None:
    small = load_small()
    first = replace(played()[0], instruction=instruction, actions=(), thoughts=())
    alone, *both = *small.act([first]), *small.act([first, first])  # two at once are written without a guess
    assert alone.speech.startswith("ok ")
    assert both == [alone, alone]


def test_guidance_moves_actions_away_from_the_blind_ones(model: SmallModel) -> None:
    plain, none = SmallPolicy(model, device="cpu"), SmallPolicy(model, device="cpu", guidance=1e-9)
    assert plain.act(played()) == none.act(played())
    blind = [replace(context, instruction="", picture=None) for context in played()]
    strong = SmallPolicy(model, device="cpu", guidance=50.0)
    assert strong.act(played()[:1]) != plain.act(played()[:1])
    assert strong.act(blind) == plain.act(blind)  # there is nothing to be guided by


def test_transformers_loads_it_and_writes_the_same(model: SmallModel, tmp_path: Path) -> None:
    from agent.small.hf import load_generated

    save_small(model, tmp_path / "made")
    ours, theirs = load_small(tmp_path / "made"), load_generated(tmp_path / "made")
    contexts = played()
    assert ours.act(contexts) == theirs.act(contexts)
    assert type(theirs.hf).__name__ == "SmallForImageTextToText"


@torch.no_grad()
def test_later_tokens_do_not_change_earlier_ones(model: SmallModel) -> None:
    def logits(last: int) -> torch.Tensor:
        text = decision((3, 4, 5, 2, 1, last))
        batch = assemble(np.zeros((1, 120, 160, 3), np.uint8), [[Prompt(["key"])]], [[text]])
        read, pack = model.read(batch.prompt)
        return model.write(Encoded(model.see(batch.frames), read, pack), batch.tokens, batch.order, batch.pack)

    torch.testing.assert_close(logits(0), logits(1))


@torch.no_grad()
def test_prompts_of_a_row_do_not_see_each_other(model: SmallModel) -> None:
    pictures = np.zeros((1, 120, 160, 3), np.uint8)

    def hidden(other: str) -> torch.Tensor:
        rows = [[Prompt(other.split()), Prompt(["torch"])]]
        batch = assemble(pictures, rows, [[decision((0,) * 6), decision((1,) * 6)]])
        read, pack = model.read(batch.prompt)
        out = model.write(Encoded(model.see(batch.frames), read, pack), batch.tokens, batch.order, batch.pack)
        return out[batch.rows, batch.columns][len(decision((0,) * 6).choices) :]

    torch.testing.assert_close(hidden("red key"), hidden("blue imp"), atol=1e-5, rtol=1e-4)


def test_whatever_it_writes_can_be_read(model: SmallModel) -> None:
    """The grammar holds with random weights, in every role and with any budget."""
    pictures = list(frames(2).permute(0, 2, 3, 1).numpy())
    for think in (0, 1, 12):
        policy = SmallPolicy(model, device="cpu", think=think, temperature=2.0)
        for decision_made in policy.act(played()):
            words_only = read_place(decision_made.thought)[0]
            assert len(words_only.split()) <= think
            assert set(words_only.split()) <= set(VOCABULARY)
    policy = SmallPolicy(model, device="cpu")
    assert all(set(t.split()) <= set(VOCABULARY) for t in policy.answer(pictures, ["what is it?", ""]))
    assert all(set(t.split()) <= set(VOCABULARY) for t in policy.propose(pictures, 3))
    assert len(policy.caption(pictures)) == 2
    value, reason = policy.judge(["go to the key"], np.zeros((1, 8, 120, 160, 3), np.uint8))[0]
    assert 0.0 <= value <= 100.0
    assert set(reason.split()) <= set(VOCABULARY)


@given(st.integers(0, 79), st.integers(0, 24), st.sampled_from(["", "look around 3", "step 2 go to red key"]))
def test_places_survive_a_thought(column: int, row: int, text: str) -> None:
    assert read_place(write_place(text, (column, row))) == (text, (column, row))


def test_every_token_has_a_name() -> None:
    assert len(
        {token_ids.name(i) for i in range(token_ids.FIRST_WORD + len(VOCABULARY))}
    ) == token_ids.FIRST_WORD + len(VOCABULARY)
    assert len(VOCABULARY) == len(set(VOCABULARY)) <= token_ids.MOST_WORDS


def test_the_policy_is_pure(model: SmallModel) -> None:
    policy = SmallPolicy(model, device="cpu", temperature=1.0)
    picture = frames(1)[0].permute(1, 2, 0).numpy()
    contexts = [Context((picture,), "take the red key", seed=seed) for seed in (1, 2, 1)]
    decisions = policy.act(contexts)
    assert decisions[0] == decisions[2] == policy.act(contexts[:1])[0]
    assert len(decisions[0].actions) == policy.spec.chunk


def ending(model: SmallModel, sure: float) -> SmallModel:
    """The model, eager to end every task at once: `sure` is added to what it needs to say so."""
    with torch.no_grad():
        model.head.bias[STARTS[0] + COLUMNS] += sure
        for token in (STARTS[1] + ROWS, WORD_ID["done"], STARTS[-1] + codec.HANDS.index("done")):
            model.head.bias[token] += 60.0
    return model


def test_a_task_is_ended_only_where_that_is_likelier_than_going_on(model: SmallModel) -> None:
    plain = GreedyOutput(ACT, 6)
    eager = SmallPolicy(ending(model, 60.0), device="cpu", think=6)
    memory = eager._encode([played()[0].frames[-1]], [prompt_of(played()[0])])
    scores = eager.decoder.write(memory, [plain])
    assert plain.ends
    assert without_unlikely_ends([plain], scores) == {}
    assert all(decision.done for decision in eager.act(played()))
    # "not in view" a little likelier than all places together, and an end a little less likely than both
    half = [[math.log(0.6), 0.0, math.log(0.8), *scores[0][PLACE + 1 :]]]
    again = without_unlikely_ends([plain], half)[0]
    assert again.avoided_end == pytest.approx(0.8)
    assert again.lone is not None
    assert again.lone[2] == pytest.approx(1 / 1.2)  # 0.6 * 0.2 against 0.4
    eager.decoder.write(memory, [again])
    assert not again.ends
    assert WORD_ID["done"] not in again.tokens


@pytest.mark.parametrize("think", [0, 6])
def test_a_spared_end_is_the_same_by_any_way_of_playing(model: SmallModel, tmp_path: Path, think: int) -> None:
    from agent.small.hf import load_generated

    with torch.no_grad():  # wherever the thing is: no end is likely
        model.head.bias[STARTS[-1] + codec.HANDS.index("done")] += 3.0
    save_small(model, tmp_path / "made")
    ours, theirs = (load(tmp_path / "made", think=think) for load in (load_small, load_generated))
    decisions = ours.act(played())
    assert not any(decision.done for decision in decisions)
    assert decisions == theirs.act(played()) == [ours.act([c])[0] for c in played()]


def test_another_instruction_is_a_new_beginning(model: SmallModel) -> None:
    context = played()[2]
    assert len(prompt_of(replace(context, since=5)).past) == 3
    assert len(prompt_of(replace(context, since=1)).past) == 1
    assert len(prompt_of(replace(context, since=0)).past) == 0


@pytest.mark.parametrize("text", ["", "   ", "!!!", "zxqv " * 50, "取 the ключ", "a" * 5000])
def test_no_instruction_is_too_strange(model: SmallModel, text: str) -> None:
    picture = np.zeros((120, 160, 3), np.uint8)
    assert SmallPolicy(model, device="cpu").act([Context((picture,), text)])[0].actions


def test_who_leads_nowhere_is_stuck() -> None:
    still, turn, back = (codec.decode(codec.tokens_of(turn=t)).actions for t in (0.0, 7.0, -7.0))
    walk = codec.decode(codec.tokens_of(forth=1)).actions

    def stuck(*chunks: tuple[Action, ...]) -> bool:
        return is_stuck(Context((np.zeros((120, 160, 3), np.uint8),), "go", chunks))

    assert stuck(*[still] * PATIENCE)
    assert stuck(*[turn, back] * (PATIENCE // 2))
    assert not stuck(*[still] * (PATIENCE - 1))
    assert not stuck(*[still] * (PATIENCE - 1), walk)
    assert not stuck(*[turn] * PATIENCE)
    assert stuck(walk, *[still] * PATIENCE)


def test_a_typo_stays_near_its_word() -> None:
    def shared(a: str, b: str) -> int:
        return len(set(word_hashing.ngrams(a)) & set(word_hashing.ngrams(b)))

    assert shared("candelabra", "candelarba") > shared("candelabra", "backpack")


def test_checkpoint_round_trip(model: SmallModel, tmp_path: Path) -> None:
    save_small(model, tmp_path / "made", trained={"frames": 1})
    again = load_model(tmp_path / "made")
    for (name, a), b in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=2e-3, msg=name)
    assert [p.name for p in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("codec", "other9", "codec 'other9'"), ("format", 99, "format 99"), ("tick_hz", 20.0, "tick_hz 20.0")],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    model: SmallModel, tmp_path: Path, field: str, value: object, said: str
) -> None:
    save_small(model, tmp_path / "made")
    file = tmp_path / "made" / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))
    with pytest.raises(CheckpointError, match=said):
        load_small(tmp_path / "made")


def test_weights_of_another_size_are_refused(model: SmallModel, tmp_path: Path) -> None:
    save_small(model, tmp_path / "made")
    file = tmp_path / "made" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["config"]["width"] = 64
    file.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="do not fit"):
        load_small(tmp_path / "made")


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="agent train small"):
        load_small(tmp_path)


def test_what_the_loop_remembers_does_not_change_how_it_acts(model: SmallModel) -> None:
    policy = SmallPolicy(model, device="cpu", think=6)
    remembering = [replace(context, memory="did: go to the torch (2.0 s, then said done).") for context in played()]
    assert policy.act(remembering) == policy.act(played())
