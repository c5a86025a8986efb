"""The plainest words for "stop" and "wait" in many languages: they take effect before any model is asked."""

from __future__ import annotations

import re

from agent.talk.intents import Intent

_STOP = frozenset((
    "stop", "stopp", "halt", "anhalten", "aufhören", "alto", "para", "detente", "detén", "basta", "arrête",
    "arrêter", "arrêtez", "stoppe", "ferma", "fermati", "fermo", "pare", "pára", "parar", "hou_op", "stoppen",
    "zatrzymaj", "stój", "przestań", "стоп", "стой", "остановись", "stanna", "sluta", "stans", "lopeta",
    "dur", "durdur", "停", "停下", "停止", "住手", "止まれ", "ストップ", "やめて", "멈춰", "정지",
    "หยุด", "dừng_lại", "قف", "توقف", "עצור",
    "στοπ", "σταμάτα", "állj", "hör_auf", "halt_an", "bleib_stehen", "para_ya", "arrête_toi",
))  # fmt: skip
_WAIT = frozenset((
    "warte", "wart", "moment", "augenblick", "warte_mal", "einen_moment", "espera", "espere", "un_momento",
    "attends", "attendez", "un_moment", "aspetta", "un_attimo", "espera_aí", "um_momento", "wacht", "wacht_even",
    "czekaj", "poczekaj", "chwileczkę", "подожди", "погоди", "vänta", "vent", "odota", "bekle", "等", "等等", "等一下",
    "待って", "待て", "잠깐", "기다려", "รอ", "chờ", "انتظر", "חכה", "περίμενε", "várj",
))  # fmt: skip
_POLITE = re.compile(r"\b(?:bitte|por favor|s'il te plaît|s'il vous plaît|per favore|alsjeblieft|proszę|пожалуйста)\b")


def read(text: str) -> Intent | None:
    """What a message asks for that is nothing but such a word; None for any other message."""
    words = re.sub(r"[\s,.!;:¡。！]+", " ", _POLITE.sub(" ", text.lower())).strip().replace(" ", "_")
    if words in _STOP:
        return Intent("stop", text)
    return Intent("pause", text) if words in _WAIT else None
