"""What a person's message asks for, read by rules on words; the same for every policy."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["instruction", "question", "choice", "stop", "pause", "resume"]
Place = Literal["instead", "first", "then"]

_SAME = {  # other names of colours, and the plain ones
    "golden": "yellow", "gold": "yellow", "amber": "yellow", "scarlet": "red", "crimson": "red", "emerald": "green",
    "azure": "blue", "gray": "grey",
}  # fmt: skip
COLOURS = (
    "red", "green", "blue", "yellow", "orange", "purple", "white", "black", "brown", "grey", "pink", *_SAME,
)  # fmt: skip
_COLOUR = re.compile(rf"\b({'|'.join(COLOURS)})\b")
_POLITE = r"(?:please|just|now|then|ok(?:ay)?|well|hey|agent|so|and|but|again|thanks|thank you|for me|[,.!;:]|\s)*"
_STOP = (
    r"stop(?: (?:it|that|this|there|everything|moving|at once|right there|doing that|what you(?:'re| are) doing))*"
    r"|halt|freeze|abort|cancel(?: (?:it|that))?|never ?mind|forget (?:it|that|about it)|(?:that's |that is )?enough"
    r"|don't(?: do (?:that|it)| bother)?|do nothing|(?:quit|drop|leave|hold) it|enough(?: of (?:that|this|it))?"
    r"|cut it out|knock it off|let it be|give up|no more"
)
_MOMENT = r"(?:moment|second|sec|minute|bit|while)"
_PAUSE = (
    r"pause(?: (?:it|the game))?"
    rf"|(?:(?:wait|hold on|hang on|pause)(?: for)? )?(?:a|one|just a|just one) {_MOMENT}|wait|hold on|hang on"
)
_RESUME = (
    r"(?:you (?:can|may) )?(?:resume|continue|unpause|go on|carry on|go ahead|keep going|proceed)"
    r"(?: with (?:it|that|what you were doing))?|(?:go )?back to (?:it|work|what you were doing)|as you were"
)
_WHOLE: dict[Kind, re.Pattern[str]] = {
    "stop": re.compile(f"{_POLITE}(?:{_STOP}){_POLITE}"),
    "pause": re.compile(f"{_POLITE}(?:{_PAUSE}){_POLITE}"),
    "resume": re.compile(f"{_POLITE}(?:{_RESUME}){_POLITE}"),
}
_NO = re.compile(
    r"(?:(?:no+|nope|nah|wrong(?: one| thing)?|not (?:that|this)(?: one| thing)?|not [^,]+(?=,)|sorry|actually"
    r"|i (?:meant|mean|said|want(?:ed)?))(?![a-z'])[\s,.!;:]*)+"
)
_INSTEAD = re.compile(
    r"^(?:(?:how|what) about|(?:take|choose|try)(?= .*\bone$)|make it|rather|it's|it is|that's)\s+"
    r"|[\s,]+(?:instead|rather|please)\s*$"
)
_FRAGMENT = re.compile(
    rf"(?:not )?(?:the |that |this |a |an )?(?:(?:{'|'.join(COLOURS)}"
    r"|first|second|last|former|latter|other|another|left|right)[\s,]*)+(?:one|ones|thing|[a-z]+)?"
    r"|either(?: one| of them)?|any(?: one| of them)?|whichever"
)
_ORDINALS = {"first": 0, "former": 0, "second": 1, "latter": 1, "last": -1}
_ASKING = re.compile(
    r"(?:what|which|where|who|whose|how|why|when|whereabouts|is|are|am|was|were|does|did|has|had)\b"
    r"|do(?! (?:not|nothing|it|this|that|so)\b)\b|have(?! a look)\b"
    r"|(?:can|could) you (?:see(?! that)|spot|find (?:an?|any|some)|tell|hear|notice|describe|say|count|name)\b"
    r"|(?:tell me|say|describe|count|name)\b|(?:in|on|at|of) (?:which|what|how)\b"
    r"|(?:the|that|this) .* (?:is|are|has) (?:what|which|where)\b"
)
_FAVOUR = re.compile(r"(?:(?:can|could|would|will) you|i(?:'d| would) like you to|i want you to|you should)\s+")
# What is said around an instruction to be polite.
_SO_KIND = r"(?:so (?:kind|good|nice)(?: as)?|kind enough) to"
_HAVE_TIME = r"you(?: (?:don't mind|please|can|could|would|are ready|(?:have|get) (?:a|the) \w+))"
_COURTESY_BEFORE = re.compile(
    r"^(?:(?:please|kindly|hello|hi|hey|dear|excuse me|sorry|so|well|ok(?:ay)?|now|just|agent|my (?:friend|dear)|there)"
    r"(?![a-z'])|(?:i(?: am|'m| was)? wonder(?:ing)? (?:if|whether)|do you think) (?:you (?:could|would|might|can)|it)"
    rf"|(?:would|could|can|will|won't) you(?: (?:mind|please|kindly|be {_SO_KIND}))*"
    rf"|(?:be|if you(?: would| could)?(?: be)?) {_SO_KIND}|do me (?:a|the) favou?r and"
    r"|(?:i(?:'d| would)|it(?:'d| would)) (?:be|really be|appreciate it|love it)(?: (?:so|very|most|really|quite))*"
    r"(?: (?:grateful|thankful|glad|happy|pleased|great|nice|lovely|kind|good|helpful))? if you (?:could|would)"
    r"|i(?:'d| would) (?:like|love|want)(?: for)? you to|(?:i|we) (?:want|need|ask|beg) you to"
    r"|may i (?:ask|trouble|bother) you to|you (?:should|must|have to|need to|may)|go ahead and|try to|let's"
    rf"|feel free to|(?:if|when(?:ever)?|as soon as) {_HAVE_TIME})[\s,!.:]+"
)
_COURTESY_AFTER = re.compile(
    r"[\s,]+(?:please|kindly|thanks(?: a lot| so much)?|thank you(?: (?:very|so) much)?|for me|(?:right )?now|at once"
    rf"|(?:will|would|could) you|ok(?:ay)?|my (?:friend|dear)|mate|buddy|agent|(?:if|when(?:ever)?) {_HAVE_TIME}"
    r"|if that is (?:ok|okay|possible)"
    r"|(?:(?:that|which) (?:is|are|lies?|stands?|you (?:can )?see) )?(?:over |right )?there)[\s,.!?]*$"
)
_PAST = re.compile(r"\b(?:did|have|has|had|was|were|picked|took|came|begin with|end with)\b")
_OF_GOAL = re.compile(
    r"what (?:are|were) you (?:doing|up to|trying to do)|what(?:'s| is| are) your (?:goals?|tasks?|plan|instruction)"
    r"|where are you going|what(?:'s| is) (?:next|the plan)|what do you want"
)
_OF_VIEW = re.compile(
    r"what (?:do|can) you see(?: (?:here|now|there|in front of you|around you))?|(?:tell me|say) what you see"
    r"|describe (?:what you see|the (?:room|scene|view|picture))"
    r"|what(?:'s| is) (?:there|here|in view|in front of you|around you)"
)
_THEN = re.compile(r"\s*(?:[,.;]\s*|\s)(?:and )?(?:then|after that|afterwards|after this|finally)\b[\s,]*")
_ELLIPSIS = re.compile(
    rf"(?:(?:to|at|towards|into|onto|for) )?(?P<thing>(?:the|a|an|that) (?:(?:{'|'.join(COLOURS)})[\s,]*)*"
    r"(?P<noun>(?!one\b|ones\b)[a-z]+(?: [a-z]+)?)?(?: ?ones?)?)"
)
_AND_ONE = re.compile(
    rf"(?P<before>.+?),? and (?P<one>(?:the|a|an) (?:(?:{'|'.join(COLOURS)})[\s,]*)+(?:ones?)?)", re.IGNORECASE
)
_LATER = re.compile(r"(?:and )?(?:then|after that|afterwards|after this|next|when you(?:'re| are) done),?\s+")
_FIRST = re.compile(r"(?:but |no,? )?(?:first|before that|to begin with),?\s+")
_WHICH = re.compile(r"which (?P<kind>.+?) the (?P<first>.+?) or the (?P<second>.+?)\s*\?")
_THING = re.compile(
    r"\b(?P<article>the|this|an?|that(?! (?:the|has|have|opens|is|are|was|you|it|fits)\b))\s+"
    r"(?P<words>[a-z0-9'][a-z0-9' -]*?)(?=\s+(?:and|or|for|from|until|till|in|on|at|open|opened|pressed|unlocked"
    r"|into|onto|to|of|with|without|while|but|where|is|that|which|so|as|please|now|dead(?!\s+(?!please|now|for)\w)|up|down|out|over|ahead|away|left"
    r"|right|next|beside|near|nearer|close|closer|standing|by|has|have|containing|again|instead|then)\b|[,.!?;:]|$)"
)
# Places that a sentence may name beside the thing that it is about.
_PLACES = frozenset(
    {
        "left",
        "right",
        "back",
        "front",
        "middle",
        "center",
        "centre",
        "ceiling",
        "floor",
        "wall",
        "room",
        "way",
        "side",
        "lock",
        "end",
        "corner",
        "ground",
        "game",
        "place",
        "spot",
        "direction",
    }
)
_POINTERS = frozenset(
    {"one", "ones", "thing", "other", "another", "first", "second", "last", "former", "latter", "either", "any"}
)
_RELATIVE = re.compile(r"\b(?:left|right|next|beside|near\w*|clos\w*|far\w*|further|distant|by)\b")
# The deed, by the words of the instruction; X stands for the thing. The first pattern that fits counts.
_DEEDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(rf"\b(?:{said})\b"), past)
    for said, past in (
        (
            r"shoot|shot|kill|fire|attack|take X (?:down|out)|take down X|gun|destroy|bullet|finish off|get rid of|slay"
            r"|terminate|execute|neutrali[sz]e|defeat|blast|wipe out|eliminate|let X have it",
            "shot",
        ),
        (r"(?:un)?lock|key (?:for|to) X", "unlocked"),
        (r"switch|button", "opened"),
        (r"enter|(?:in|into|inside|to) the room|room (?:with|that|where|containing)", "entered"),
        (r"open", "opened"),
        (
            r"touch|bump|(?:run|walk|right) into X|push against|up against|contact|press yourself|until you hit"
            r"|nudge|rub|lean|hand on|feel|tap|collide",
            "touched",
        ),
        (
            r"pick|(?:take|grab|get|collect|fetch|snatch|gather|acquire|have|need|bring(?! X to)) (?:me )?X"
            r"|(?:take|get) hold of|walk (?:over|onto) X|(?:take|grab|collect|get|fetch) it",
            "picked up",
        ),
        (r"press|push|use|hit|activate|trigger|operate|flip|pull|throw|turn on", "pressed"),
        (
            r"face|look|turn|point|watch|eyes|aim|rotate|stare|focus|view|gaze|keep X",
            "faced",
        ),
        (
            r"go|walk|move|head|get|come|reach|approach|stand|step|run|find|proceed|wander|way to|near"
            r"|need you|take me",
            "went to",
        ),
    )
)


@dataclass(frozen=True)
class Intent:
    """What a message asks for.

    `text`: the instruction, the question or the choice, in lower case, without polite words. `place`: where an
    instruction goes among the goals that are not reached yet. `corrects`: the message says that something is wrong.
    """

    kind: Kind
    text: str
    place: Place = "instead"
    corrects: bool = False


@dataclass(frozen=True)
class Thing:
    """The thing that an instruction is about. `words`: without the article, such as "red key card". `span`: where the
    thing stands in the text, with its article. `definite`: one certain thing is meant."""

    words: str
    span: tuple[int, int]
    definite: bool

    @property
    def noun(self) -> str:
        """Without colours."""
        return " ".join(_COLOUR.sub(" ", re.sub("^one (?=.)", "", self.words)).split())

    @property
    def pointer(self) -> bool:
        """Whether the words only point at something, as in "the other one"."""
        return set(self.noun.split()) <= _POINTERS


@dataclass(frozen=True)
class OpenQuestion:
    """The agent's question: which of `choices`, things of one `kind`, is meant."""

    kind: str
    choices: tuple[str, ...]


def read(text: str) -> Intent:
    """What a message asks for. A message that fits no other rule is an instruction."""
    words = re.sub(r"\s+", " ", text.strip().lower()).strip(" .!")
    corrected = _NO.match(words)
    for kind, pattern in _WHOLE.items():
        if pattern.fullmatch(words) or (corrected and pattern.fullmatch(words[corrected.end() :])):
            return Intent(kind, words)
    words = re.sub(rf"^(?:{_STOP})\s*(?:,|;|and|\.)+\s*", "", words)
    words = re.sub(r"^(?:please|ok(?:ay)?|hey|now|so|well)[\s,]+", "", words)
    corrected = _NO.match(words)
    rest = words[corrected.end() :] if corrected else words
    rest = _INSTEAD.sub("", rest)
    rest = rest.rstrip("?") if _FRAGMENT.fullmatch(rest.rstrip("?")) else rest
    if (corrected and not rest) or _FRAGMENT.fullmatch(rest):
        return Intent("choice", rest, corrects=corrected is not None)
    if corrected and re.match(r"(?:the|that|a|an) ", rest):
        return Intent("choice", rest, corrects=True)
    favour = _FAVOUR.match(rest)
    if _ASKING.match(rest) or (rest.endswith("?") and not favour):
        return Intent("question", rest)
    rest = rest[favour.end() :].rstrip("?") if favour else rest
    rest = re.sub(r"^(?:please|just)\s+", "", rest).strip(" ,.!")
    if later := _LATER.match(rest):
        return Intent("instruction", rest[later.end() :], "then")
    if (first := _FIRST.match(rest)) and not _THEN.search(rest):
        return Intent("instruction", rest[first.end() :], "first")
    return Intent("instruction", rest, corrects=corrected is not None)


def steps(instruction: str) -> list[str]:
    """The steps of an instruction, in order: "first pick up the key, then go to the torch" has two."""
    first = _FIRST.match(instruction)
    parts = [part.strip(" ,.;") for part in _THEN.split(instruction[first.end() :] if first else instruction)]
    found: list[str] = []
    for part in parts:
        both = _AND_ONE.fullmatch(part)
        named = thing_of(both["before"]) if both else None
        for said in (both["before"], both["one"]) if both and named and named.noun else (part,):
            if said:
                found.append(_completed(said, found[-1]) if found else said)
    return found or [instruction]


def _completed(step: str, before: str) -> str:
    """A step with what it leaves out, as the step before it says: "the red one" after "pick up the blue key", or
    "touch it"."""
    thing = thing_of(before)
    if thing is None or not thing.noun:
        return step
    left_out = _ELLIPSIS.fullmatch(step.lower())
    if left_out and (left_out["noun"] or colour_of(step)):
        if left_out["noun"]:
            return with_thing(before, left_out["thing"])
        return with_colour(before, thing.noun, colour_of(step) or "")
    if thing_of(step) is None:
        return re.sub(r"\b(?:it|that one|this one)\b", f"the {thing.words}", step, count=1)
    return step


def spelled_out(instruction: str) -> str:
    """The instruction without politeness, each step complete in itself: "would you kindly fetch the blue key, then the
    red one?" is "fetch the blue key, then fetch the red key"."""
    return ", then ".join(_bare(step) for step in steps(_bare(instruction)))


def _bare(text: str) -> str:
    words = re.sub(r"\s+", " ", text.strip().lower()).strip(" ,.!?;:")
    while (shorter := _COURTESY_AFTER.sub("", _COURTESY_BEFORE.sub("", words)).strip(" ,.!?;:")) != words:
        words = shorter
    words = re.sub(r"^(fetch|find|grab|collect|take|pick up) me (?=the|an?|that)\b", r"\1 ", words)
    verb, _, rest = words.partition(" ")
    return f"{_infinitive(verb)} {rest}" if verb.endswith("ing") and rest else words


def _infinitive(verb: str) -> str:
    """ "take" for "taking", as after "would you mind"."""
    stem = verb.removesuffix("ing")
    if not re.search(r"[aeiou]", stem):
        return verb  # such as bring
    if re.search(r"([bdgmnpt])\1$", stem):
        return stem[:-1]
    return f"{stem}e" if re.search(r"(?<![aeiou])[aeiou](?:[kvcmsz]|(?<=i)r)$", stem) else stem


def which(speech: str) -> OpenQuestion | None:
    """The question in an agent's speech such as "which torch the red or the blue ?"; None for other speech."""
    match = _WHICH.fullmatch(speech.strip().lower())
    return OpenQuestion(match["kind"], (match["first"], match["second"])) if match else None


def choose(text: str, choices: Sequence[str]) -> str | None:
    """The one of `choices` that a message means; None if it means none of them or that is not clear."""
    text = _COLOUR.sub(lambda match: _plain(match[0]), text)
    if re.fullmatch(r"either.*|any.*|whichever", text):
        return choices[0]
    named = [choice for choice in choices if re.search(rf"\b{re.escape(choice)}\b", text)]
    if "not " in text or re.search(r"\b(?:an)?other\b", text):
        named = [choice for choice in choices if choice not in named]
    if not named and (ordinal := re.search(r"\b(first|former|second|latter|last)\b", text)):
        return choices[_ORDINALS[ordinal[1]]]
    return named[0] if len(named) == 1 else None


def _plain(colour: str) -> str:
    return _SAME.get(colour, colour)


def same_thing(words: str, name: str) -> bool:
    """Whether a thing that is named in a sentence and one that is seen may be the same."""
    said = words.removeprefix("the ").split()
    return bool(said) and said[-1] == name.split()[-1] and colour_of(words) in (None, colour_of(name))


def colour_of(text: str) -> str | None:
    """The plain name of the last colour in a text; None if there is none."""
    found = _COLOUR.findall(text)
    return _plain(found[-1]) if found else None


def thing_of(instruction: str) -> Thing | None:
    """The thing that an instruction is about: the first with "the", else the first with "a"; None if there is none."""
    found = [
        Thing(match["words"], match.span(), match["article"] not in ("a", "an"))
        for match in _THING.finditer(instruction.lower())
        if match["words"].split()[-1] not in _PLACES
    ]
    return next((thing for thing in found if thing.definite), found[0] if found else None)


def kind_of(instruction: str) -> str:
    """The noun of the thing that an instruction is about, without its colour; its last word if it names no thing."""
    thing = thing_of(instruction)
    if thing is not None and thing.noun:
        return thing.noun
    return re.findall(r"[a-z0-9']+", instruction)[-1] if instruction else ""


def unclear(instruction: str) -> bool:
    """Whether an instruction names one certain thing, but neither its colour nor its place."""
    thing = thing_of(instruction)
    if thing is None or not thing.definite or thing.pointer or thing.noun != thing.words:
        return False
    return not _RELATIVE.search(thing.words) and not _RELATIVE.match(instruction[thing.span[1] :].strip())


def with_colour(instruction: str, kind: str, colour: str) -> str:
    """The instruction about the thing in that `colour`: the colour replaces the thing's own one, or stands before the
    `kind`, or, if the thing goes by another name, "the COLOUR KIND" replaces the thing."""
    own = list(_COLOUR.finditer(instruction))
    if own:
        return instruction[: own[-1].start()] + colour + instruction[own[-1].end() :]
    at = list(re.finditer(rf"\b{re.escape(kind)}\b", instruction))
    if at:
        return f"{instruction[: at[-1].start()]}{colour} {instruction[at[-1].start() :]}"
    return with_thing(instruction, f"the {colour} {kind}")


def with_thing(instruction: str, thing: str) -> str:
    """The instruction with another thing: "go to the torch" and "the blue column" make "go to the blue column"."""
    own = thing_of(instruction)
    return f"{instruction[: own.span[0]]}{thing}{instruction[own.span[1] :]}" if own else f"{instruction} {thing}"


def others(caption: str, kind: str, colour: str | None) -> list[str]:
    """The colours of a kind of thing in a caption like "red torch left and blue torch right", without `colour`."""
    found = re.findall(rf"\b({'|'.join(COLOURS)}) {re.escape(kind)}\b", caption)
    return [seen for seen in dict.fromkeys(found) if seen != colour]


def is_past(question: str) -> bool:
    """Whether a question is about the past."""
    return _PAST.search(question.lower()) is not None


def is_of_goal(question: str) -> bool:
    """Whether a question is about the agent's goal."""
    return _OF_GOAL.search(question.lower()) is not None


def is_of_view(question: str) -> bool:
    """Whether a question asks for everything in view."""
    return _OF_VIEW.fullmatch(question.lower().strip(" ?.")) is not None


def deed(instruction: str, known: Callable[[str], str | None] = lambda noun: noun) -> str:
    """A deed: an instruction that was carried out, in the past tense, such as "i picked up the red key". `known`: gives
    the plain name of the thing that a noun names, or None."""
    instruction = instruction.lower().strip(" .!")
    thing = thing_of(instruction)
    if thing is not None and thing.noun:
        said = f"{instruction[: thing.span[0]]}X{instruction[thing.span[1] :]}"
        name = f"the {colour_of(thing.words) or ''} {known(thing.noun) or thing.noun}".replace("  ", " ")
        for pattern, past in _DEEDS:
            if pattern.search(said):
                return f"i {past} {name}"
    return f"i did: {instruction}"
