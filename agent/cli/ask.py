"""`agent ask`: answers questions about a recorded run, or about any video, with the moment as a picture."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli import console
from agent.cli.options import PolicyName
from envs.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from agent.cli.past import Recording
    from agent.recall.answering import Answer, Moment
    from agent.recall.eyes import PolicyEyes
    from agent.recall.store import Source, Store
    from agent.talk.voice import Voice

app = console.verb()

INDEX = "recall"  # the folder in a run that holds its index
EVENTS = "events.sqlite"
_SYSTEM = (
    "You played the game that these notes are about. Answer the question in one or two sentences, from the notes "
    "alone, with the time. Say so where they don't tell."
)


@app.command()
def ask(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run or an episode, or a video file.")],
    question: Annotated[str | None, typer.Argument(help="What you want to know, in English.")] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Find when something that looks like this picture was seen.")
    ] = None,
    policy: PolicyName = "small",
    model: Annotated[
        str | None,
        typer.Option(help="A chat model that words the answer from what is found: smol, openai:MODEL@URL, ..."),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the index and the pictures go [default: RUN/recall, or your cache]."),
    ] = None,
    json: console.Json = False,
) -> None:
    """Answer a question about a recorded run of any length, or a video from anywhere, with the moment as a picture.

    The first question looks at the run, four pictures a second, and keeps what it saw; after Ctrl+C it goes on where it
    was. The policy describes the pictures: small knows the things of our worlds. It is asked again about the pictures
    that the answer rests on. Nothing leaves this machine, unless --model names a remote model.

    \b
    Examples:
      agent ask runs/20261122-170712-tour "when did I last see the red key, and where?"
      agent ask runs/20261122-170712-tour "what stood beside the blue torch?"
      agent ask runs/20261122-170712-tour "how many times did you see an imp?"
      agent ask runs "what was there at 0:12:30?"
      agent ask runs --picture key.png
      agent ask film.mp4 "when did the red torch first appear?" --json
      agent ask runs/20261122-170712-tour "what were you told to do?" --model smol
    """
    if (question or "").strip() == "" and picture is None:
        raise UserError('what do you want to know? Say it: agent ask RUN "when did I last see the red key?"')
    if question and picture is not None:
        raise UserError("a question or --picture: one of the two")
    screen = console.console(machine=True)
    from agent.cli.past import recordings

    shown = None if picture is None else _read_picture(picture)
    found = recordings(run)
    with screen.status("starting"):
        from agent.cli import compose

        eyes = eyes_of(policy, compose.load_policy(policy))
        chat = _chat_model(model)
    from agent.recall.store import Store

    folder = index_folder(run, index)
    with Store(folder / EVENTS, eyes.name) as store:
        known = look(screen, store, found, eyes)
        answer, worded = _answer(store, known, eyes, question or "", shown, chat)
    result = _result(answer, worded, known, folder)
    if json:
        console.print_json(result)
    else:
        _tell(result)


def eyes_of(policy: str, loaded: Any) -> PolicyEyes:
    """The policy called `policy` as eyes; their name tells its weights. Raises UserError where it describes nothing."""
    from agent.capabilities import Captions, require
    from agent.lineage import content_hash
    from agent.recall.eyes import PolicyEyes
    from agent.small.checkpoint import SHIPPED

    folder = SHIPPED if policy == "small" else Path(policy).expanduser()
    name = f"small {content_hash(folder)}" if folder.is_dir() else policy
    return PolicyEyes(require(loaded, Captions, policy, "agent ask"), name)


def _chat_model(name: str | None) -> Any:
    if name is None:
        return None
    from agent.models.load import load_model

    return load_model(name, attempts=2)


def _read_picture(path: Path) -> Any:
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"--picture {path}: {getattr(error, 'strerror', None) or error}") from error


def index_folder(run: Path, index: Path | None) -> Path:
    """The folder of the index, made where it is missing: in a run's own folder, else in the user's cache."""
    if index is None and run.is_dir() and not (run / "episode.json").exists():
        index = run / INDEX
    if index is None:
        from platformdirs import user_cache_path

        place = str(run.resolve())
        index = user_cache_path("ludens") / "recall" / f"{run.stem}-{hashlib.sha256(place.encode()).hexdigest()[:12]}"
    try:
        index.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{index}: {error.strerror}; name another place with --index") from error
    return index


def look(
    screen: Console, store: Store, found: list[Recording], eyes: PolicyEyes
) -> dict[int, tuple[Source, Recording]]:
    """Look at what was not looked at before. The recordings by the number of their source."""
    from agent.recall.indexing import index

    sources: dict[int, tuple[Source, Recording]] = {}
    kept = {str(one.path.resolve()) for one in found}
    for source in store.sources():
        if source.path not in kept:  # the recording is gone
            store.forget(source.id)
    for one in found:
        place = str(one.path.resolve())
        old = {source.path: source for source in store.sources()}.get(place)
        events = one.events() if old is None or old.print != one.print else []
        source = store.begin(
            one.name, place, one.print, events=events, tick_hz=one.tick_hz, ticks=one.ticks, began=one.began
        )
        sources[source.id] = source, one
    todo = [(source, one) for source, one in sources.values() if not source.whole]
    if not todo:
        return sources
    total = sum(max(0, one.ticks - source.looked) for source, one in todo)
    try:
        with console.progress(screen) as bars:
            bar = bars.add_task("looking", total=total, note="")
            for source, one in todo:
                bars.update(bar, note=one.name)
                begun, done = bars.tasks[bar].completed, source.looked

                def show(tick: int, begun: float = begun, done: int = done) -> None:
                    bars.update(bar, completed=begun + tick - done)

                index(store, source, one.footage(source.looked), eyes, show)
                show(one.ticks)
    except KeyboardInterrupt:
        screen.print("What was looked at is kept: ask again, and it goes on from there.")
        raise
    return sources


def remembering(screen: Console, memory: Path, policy: str, loaded: Any) -> Callable[[Voice], Voice]:
    """Gives a voice the memory of the runs in a folder; looks at what was not looked at before. `policy` describes the
    pictures, or `small` where it can't."""
    from agent.capabilities import Captions
    from agent.cli import compose
    from agent.cli.past import recordings
    from agent.recall.store import Store
    from agent.recall.voice import RememberingVoice

    found = recordings(memory)
    able = isinstance(loaded, Captions)
    eyes = eyes_of(policy, loaded) if able else eyes_of("small", compose.load_policy("small"))
    file = index_folder(memory, None) / EVENTS
    with Store(file, eyes.name) as store:
        known = look(screen, store, found, eyes)

    def remember(voice: Voice) -> Voice:
        return RememberingVoice(
            voice, lambda: Store(file, eyes.name), eyes, lambda source, frame: known[source.id][1].frame(frame)
        )

    return remember


def _answer(
    store: Store,
    known: dict[int, tuple[Source, Recording]],
    eyes: PolicyEyes,
    question: str,
    picture: Any,
    chat: Any,
) -> tuple[Answer, str | None]:
    """The answer by the events, and as a chat model words it where there is one."""
    from agent.recall.answering import Recall

    recall = Recall(store, eyes, lambda source, frame: known[source.id][1].frame(frame))
    answer = recall.alike(picture) if picture is not None else recall.answer(question)
    if chat is None:
        return answer, None
    from agent.models.base import Message, ModelError
    from agent.recall.prompt import prompt

    asked = question or "When was something like the picture seen?"
    notes = f"{prompt(store, asked, answer)}\n\nFound: {answer.text}\n\nQuestion: {asked}"
    try:
        return answer, chat.chat([Message("system", _SYSTEM), Message("user", notes)], max_tokens=200).text.strip()
    except ModelError as error:
        raise UserError(f"--model: {error}; without --model: {answer.text}") from error
    finally:
        chat.close()


def _result(
    answer: Answer, worded: str | None, known: dict[int, tuple[Source, Recording]], folder: Path
) -> dict[str, Any]:
    """What is printed, as JSON has it; the picture of the first moment is written to `folder`."""
    moments = [_moment(moment, known[moment.source.id][1]) for moment in answer.moments]
    if moments:
        moments[0]["picture"] = _save(answer.moments[0], known[answer.moments[0].source.id][1], folder)
    return {
        "answer": worded or answer.text,
        "by_events": answer.text,
        "found": answer.found,
        "value": answer.value,
        "checked": answer.checked,
        "moments": moments,
    }


def _moment(moment: Moment, recording: Recording) -> dict[str, Any]:
    return {
        "recording": str(recording.path),
        "kind": moment.kind,
        "tick": moment.tick,
        "seconds": round(moment.seconds, 3),
        "text": moment.text,
        "sure": moment.sure,
        "link": f"{recording.video.resolve().as_uri()}#t={moment.seconds:.2f}",
        "picture": None,
    }


def _save(moment: Moment, recording: Recording, folder: Path) -> str | None:
    """The moment as a PNG; its path, None where there is no picture of it."""
    from PIL import Image

    from agent.cli.compose import slug

    frame = recording.frame(moment.frame) if moment.frame >= 0 else None
    if frame is None:
        return None
    path = folder / f"{slug(moment.source.name)}-{moment.tick:07d}.png"
    try:
        Image.fromarray(frame).save(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; name another place with --index") from error
    return str(path)


def _tell(result: dict[str, Any]) -> None:
    screen = console.console()
    screen.print(result["answer"], markup=False)
    for number, moment in enumerate(result["moments"]):
        if number == 0:
            screen.print(f"Picture: {moment['picture'] or 'none'}", markup=False)
            screen.print(f"Video: {moment['link']}", markup=False)
            continue
        screen.print(
            f"Also at {moment['seconds']:.1f} s: {moment['text']}  {moment['link']}", markup=False, style="dim"
        )
