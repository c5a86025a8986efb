"""The scripted conversations of tasks/doom in German and in Spanish, for benchmarks/talk.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from envs.doom.level import Level
from tasks.doom.conversation_scripts import Line, Script
from tasks.doom.language import read, read_thing
from tasks.doom.questions import Question
from tasks.task import Pair

Gender = Literal["m", "f", "n"]
_GENDERS: tuple[Gender, ...] = ("m", "f", "n")


@dataclass(frozen=True)
class Language:
    """How a person talks in a language. {x}: a thing with its article, {o}: the other one, {w}: "the other one", {b}:
    the bare noun, {c}, {d}: two bare colours. `nouns`: with their gender; `colours`, `articles`, `other` and `none`
    ("no", as in "i see no key"): by gender. `after`: whether the colour stands after the noun. `contractions`: what
    becomes of neighbouring words."""

    nouns: Mapping[str, tuple[str, Gender]]
    colours: Mapping[str, tuple[str, ...]]
    articles: tuple[str, ...]
    other: tuple[str, ...]
    none: tuple[str, ...]
    verbs: Mapping[str, tuple[str, ...]]
    stops: tuple[str, ...]
    pauses: tuple[str, ...]
    resumes: tuple[str, ...]
    corrections: tuple[str, ...]
    choices: tuple[str, ...]
    doings: tuple[str, ...]
    questions: Mapping[str, tuple[str, ...]]
    answers: Mapping[str, str]
    which: str
    not_there: str
    strange: tuple[str, ...]
    unknown: str
    took: str
    did_you: str
    after: bool = False
    contractions: tuple[tuple[str, str], ...] = ()

    def thing(self, kind: str, colour: str | None, article: tuple[str, ...] | None = None) -> str:
        noun, gender = self.nouns[kind]
        at = _GENDERS.index(gender)
        shade = self.colours[colour][at] if colour else ""
        words = [noun, shade] if self.after else [shade, noun]
        return " ".join(filter(None, [(article or self.articles)[at], *words]))

    def bare(self, kind: str, colour: str | None) -> str:
        """Without an article."""
        return self.thing(kind, colour, ("", "", ""))

    def colour(self, kind: str, colour: str) -> str:
        return self.colours[colour][_GENDERS.index(self.nouns[kind][1])]

    def order(self, rng: np.random.Generator, verb: str, kind: str, colour: str | None) -> str:
        """An instruction."""
        return self.said(rng, self.verbs[verb], x=self.thing(kind, colour))

    def said(self, rng: np.random.Generator, among: tuple[str, ...], **words: str) -> str:
        text = str(rng.choice(list(among))).format(**words)
        for apart, together in self.contractions:
            text = text.replace(apart, together)
        return text


def translated(one: Script, language: Language) -> Script:
    """A script in another language: the same level, the same goals, the same reactions that are right."""
    rng = np.random.default_rng([one.seed, 0x10C])
    level = Level.from_json(one.options["level"])
    lines: list[Line] = []
    for number, line in enumerate(one.lines):
        lines.append(_line(rng, language, one, level, number, line, lines))
    return replace(one, lines=tuple(lines))


def _line(
    rng: np.random.Generator, lang: Language, one: Script, level: Level, number: int, line: Line, before: list[Line]
) -> Line:
    pair = _pair(level, line)
    if line.expect == "still":
        return replace(line, text=lang.said(rng, lang.stops))
    if line.expect == "wait":
        return replace(line, text=lang.said(rng, lang.pauses))
    if line.expect == "answer":
        return _question(rng, lang, line, before)
    if line.expect == "do" and line.goal is None:
        return replace(line, text=lang.said(rng, lang.resumes))
    if line.expect == "do" and number and one.kind in ("correction", "clarification"):
        assert pair is not None
        other = next((t.kind, t.colour) for t in level.things if t.kind == pair[0] and t.colour != pair[1])
        among = lang.corrections if one.kind == "correction" else lang.choices
        words = {"x": lang.thing(*pair), "o": lang.thing(*other)}
        return replace(line, text=lang.said(rng, among, w=lang.thing(pair[0], None, lang.other), **words))
    if pair is not None:
        assert line.goal is not None
        return replace(line, text=lang.order(rng, line.goal.name, *pair))
    meaning = read(line.text)
    if meaning is None or meaning.kind is None:  # a word that the agent was never taught
        noun = str(rng.choice(list(lang.strange)))
        return replace(line, text=lang.said(rng, lang.verbs["go_to"], x=noun), said=lang.unknown.format(x=noun))
    text = lang.order(rng, meaning.verb, meaning.kind, meaning.colour)
    if line.expect == "ask":
        first, second = line.said.removesuffix(" ?").split(" the ")[1:]
        first = first.removesuffix(" or")
        words = {"c": lang.colour(meaning.kind, first), "d": lang.colour(meaning.kind, second)}
        return replace(line, text=text, said=lang.which.format(b=lang.bare(meaning.kind, None), **words))
    missing = lang.not_there.format(x=lang.thing(meaning.kind, meaning.colour, lang.none))
    return replace(line, text=text, said=missing)


def _question(rng: np.random.Generator, lang: Language, line: Line, before: list[Line]) -> Line:
    """A question about the goal, or about what was taken. One about the picture is made when it is asked."""
    if not line.text:
        return line
    if line.text.startswith("what did you pick up"):
        kind, colour = _named(line.said)
        return replace(line, text=lang.took, said=lang.bare(kind, colour))
    if line.text.startswith("did you pick up"):
        kind, colour = _named(line.text.partition(" the ")[2].rstrip("?"))
        return replace(line, text=lang.did_you.format(x=lang.thing(kind, colour)), said=lang.answers[line.said])
    return replace(line, text=lang.said(rng, lang.doings), said=before[-1].text)


def worded(question: Question, language: Language) -> Question | None:
    """A question about the picture and its answer; None for one for which there are no words."""
    if question.kind not in language.questions:
        return None
    named = read_thing(question.noun) if question.noun else None
    if question.noun and named is None:
        return None
    if question.kind == "colour":
        assert named is not None
        answer = language.colour(named[0], question.answer)
    elif question.kind == "nearest":
        answer = language.bare(*_named(question.answer))
    else:
        answer = language.answers.get(question.answer, question.answer)
    x = language.thing(*named) if named else ""
    text = language.said(np.random.default_rng(0), language.questions[question.kind], x=x)
    return Question(text, answer, question.kind)


def _named(words: str) -> Pair:
    named = read_thing(words)
    assert named is not None
    return named


def _pair(level: Level, line: Line) -> Pair | None:
    """The thing that a line asks for, if it is one certain thing."""
    if line.goal is None:
        return None
    thing = level.things[line.goal.args["targets"][0]]
    return thing.kind, thing.colour


GERMAN = Language(
    nouns={
        "key": ("Schlüssel", "m"), "skull": ("Schädel", "m"), "armor": ("Rüstung", "f"), "map": ("Karte", "f"),
        "orb": ("Kugel", "f"), "mask": ("Maske", "f"), "medikit": ("Verbandskasten", "m"),
        "backpack": ("Rucksack", "m"), "suit": ("Anzug", "m"), "torch": ("Fackel", "f"), "column": ("Säule", "f"),
        "bush": ("Busch", "m"), "barrel": ("Fass", "n"), "candelabra": ("Kandelaber", "m"), "eye": ("Auge", "n"),
        "pylon": ("Mast", "m"), "stump": ("Baumstumpf", "m"), "lamp": ("Lampe", "f"), "demon": ("Dämon", "m"),
        "imp": ("Wichtel", "m"), "zombie": ("Zombie", "m"), "cacodemon": ("Kakodämon", "m"),
    },
    colours={
        "red": ("roten", "rote", "rote"), "green": ("grünen", "grüne", "grüne"), "blue": ("blauen", "blaue", "blaue"),
        "yellow": ("gelben", "gelbe", "gelbe"),
    },
    articles=("den", "die", "das"),
    other=("den anderen", "die andere", "das andere"),
    none=("keinen", "keine", "kein"),
    verbs={
        "go_to": ("Geh auf {x} zu", "lauf an {x} heran, bitte", "kannst du an {x} herangehen?"),
        "pick_up": ("Nimm {x}", "heb bitte {x} auf", "hol dir {x}!"),
        "touch": ("Berühre {x}", "fass {x} an", "stoß gegen {x}"),
        "shoot": ("Schieß auf {x}", "erschieße {x}, bitte"),
        "face": ("Sieh {x} an", "schau auf {x}", "dreh dich um, bis du {x} ansiehst"),
    },
    stops=("Stopp!", "halt", "hör auf", "lass das", "es reicht, lass es bleiben", "vergiss es"),
    pauses=("Warte", "warte mal", "einen Moment, bitte", "halt das Spiel kurz an"),
    resumes=("Weiter", "mach weiter", "du kannst jetzt weitermachen", "fahr fort"),
    corrections=("nein, {w}", "nein, {x}", "ich meinte {x}", "nicht {o}, sondern {x}", "Entschuldigung, {x}!"),
    choices=("{x}", "{x}, bitte", "ich meine {x}", "nicht {o}, {x}"),
    doings=("Was machst du gerade?", "was ist dein Ziel?", "wohin gehst du?"),
    questions={
        "nearest": ("Was ist am nächsten bei dir?", "welches Ding steht am nächsten"),
        "count_all": ("Wie viele Dinge siehst du?", "zähl die Dinge"), "colour": ("Welche Farbe siehst du an: {x}?",),
        "where": ("Wo siehst du {x}?", "auf welcher Seite siehst du {x}"), "is_there": ("Siehst du {x}?",),
    },
    answers={"yes": "ja", "no": "nein", "left": "links", "right": "rechts", "ahead": "vor mir", "nothing": "nichts"},
    which="{b}: {c} oder {d}?",
    not_there="ich sehe hier {x}",
    strange=("das Einhorn", "die Banane", "das Klavier", "den Hubschrauber", "den Regenschirm"),
    unknown="ich weiß nicht, was das sein soll: {x}",
    took="Was hast du aufgehoben?",
    did_you="Hast du {x} aufgehoben?",
)  # fmt: skip

SPANISH = Language(
    nouns={
        "key": ("llave", "f"), "skull": ("calavera", "f"), "armor": ("armadura", "f"), "map": ("mapa", "m"),
        "orb": ("esfera", "f"), "mask": ("máscara", "f"), "medikit": ("botiquín", "m"), "backpack": ("mochila", "f"),
        "suit": ("traje", "m"), "torch": ("antorcha", "f"), "column": ("columna", "f"), "bush": ("arbusto", "m"),
        "barrel": ("barril", "m"), "candelabra": ("candelabro", "m"), "eye": ("ojo", "m"), "pylon": ("pilón", "m"),
        "stump": ("tocón", "m"), "lamp": ("lámpara", "f"), "demon": ("demonio", "m"), "imp": ("diablillo", "m"),
        "zombie": ("zombi", "m"), "cacodemon": ("cacodemonio", "m"),
    },
    colours={
        "red": ("rojo", "roja", ""), "green": ("verde", "verde", ""), "blue": ("azul", "azul", ""),
        "yellow": ("amarillo", "amarilla", ""),
    },
    articles=("el", "la", ""),
    other=("el otro", "la otra", ""),
    none=("ningún", "ninguna", ""),
    verbs={
        "go_to": ("Ve hacia {x}", "camina hasta {x}, por favor", "¿puedes ir a {x}?"),
        "pick_up": ("Recoge {x}", "toma {x}", "agarra {x}, por favor"),
        "touch": ("Toca {x}", "choca con {x}"),
        "shoot": ("Dispara a {x}", "mata a {x}"),
        "face": ("Mira {x}", "gira hasta ver {x}"),
    },
    stops=("¡Alto!", "para", "detente", "déjalo", "ya basta, olvídalo", "deja de hacer eso"),
    pauses=("Espera", "un momento", "espera un poco, por favor", "pon el juego en pausa"),
    resumes=("Sigue", "continúa", "ya puedes seguir", "adelante, continúa"),
    corrections=("no, {w}", "no, {x}", "quería decir {x}", "no {o}, sino {x}", "perdón, ¡{x}!"),
    choices=("{x}", "{x}, por favor", "me refiero a {x}", "no {o}, {x}"),
    doings=("¿Qué estás haciendo?", "¿cuál es tu objetivo?", "¿adónde vas?"),
    questions={
        "nearest": ("¿Qué es lo más cercano?", "¿qué cosa está más cerca de ti?"),
        "count_all": ("¿Cuántas cosas ves?", "cuenta las cosas"), "colour": ("¿De qué color es {x}?",),
        "where": ("¿Dónde ves {x}?", "¿en qué lado está {x}?"), "is_there": ("¿Ves {x}?",),
    },
    answers={
        "yes": "sí", "no": "no", "left": "a la izquierda", "right": "a la derecha", "ahead": "delante",
        "nothing": "nada",
    },
    which="{b}: ¿{c} o {d}?",
    not_there="aquí no veo {x}",
    strange=("el unicornio", "el plátano", "el piano", "el helicóptero", "el paraguas"),
    unknown="no sé qué es eso: {x}",
    took="¿Qué has recogido?",
    did_you="¿Has recogido {x}?",
    after=True,
    contractions=((" a el ", " al "), (" de el ", " del ")),
)  # fmt: skip

LANGUAGES: dict[str, Language | None] = {"english": None, "german": GERMAN, "spanish": SPANISH}
