"""The page of a gallery: its data, and the page as one HTML file that contains its pictures."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from envs.errors import UserError
from envs.files import write_whole
from training.data.episodes import DamagedEpisodeError
from training.evaluation.statistics import proportion
from training.gallery.curves import Curve, find_curves
from training.gallery.entries import Entry, Found, find_entries
from training.gallery.generations import runs
from training.gallery.pictures import thumbnail, write_clip

STATIC = Path(__file__).parent / "static"
_MAKE = "agent play makes a run, agent record makes episodes"
OnEpisode = Callable[[int, int], None]


@dataclass(frozen=True)
class Gallery:
    """All that the page shows of the folder `root`."""

    root: Path
    found: Found
    curves: Sequence[Curve] = ()
    runs: Sequence[dict[str, Any]] = ()
    notes: Sequence[str] = field(default=())

    def data(self, pictures: Callable[[int], dict[str, str]]) -> dict[str, Any]:
        """JSON values for the page. `pictures`: the addresses of an episode's `thumb` and `video`, by its number."""
        entries = self.found.entries
        return {
            "title": self.root.resolve().name,
            "episodes": [{**one.to_json(), **pictures(number)} for number, one in enumerate(entries)],
            "policies": [_policy(name, entries) for name in dict.fromkeys(one.policy for one in entries)],
            "left_out": self.found.left_out,
            "damaged": self.found.damaged,
            "curves": [vars(curve) for curve in self.curves],
            "runs": list(self.runs),
            "notes": list(self.notes),
        }


def look(root: Path, most: int) -> Gallery:
    """What is in the folder `root`; at most `most` episodes. Raises UserError where there is nothing to show."""
    if not root.is_dir():
        raise UserError(f"{root}: there is no such folder; name a run, such as runs/NAME, or a folder of episodes")
    found = find_entries(root, most)
    curves, note = find_curves(root)
    gallery = Gallery(root, found, curves, runs(root), [note] if note else [])
    if not (found.entries or curves or gallery.runs or found.damaged):
        raise UserError(f"{root}: no episode, TensorBoard log or self-improvement run is in there; {note or _MAKE}")
    return gallery


def _policy(name: str, entries: Sequence[Entry]) -> dict[str, Any]:
    """How a policy did: success by truth with its Wilson interval, and the judge's mean score."""
    mine = [one for one in entries if one.policy == name]
    known = [one.outcome == "success" for one in mine if one.outcome in ("success", "failure")]
    values = [one.judged[0].value for one in mine if one.judged and one.judged[0].value is not None]
    agreed = [one.agreement == "agrees" for one in mine if one.agreement]
    return {
        "name": name,
        "episodes": len(mine),
        "truth": proportion(sum(known), len(known), of="n"),
        "judge": sum(values) / len(values) if values else None,
        "agreement": proportion(sum(agreed), len(agreed), of="n"),
    }


def write_gallery(path: Path, gallery: Gallery, on_episode: OnEpisode = lambda done, total: None) -> list[str]:
    """Write the gallery as one file that needs nothing else; what of it could not be shown. Raises OSError."""
    entries, lost, pictures = gallery.found.entries, list[str](), list[dict[str, str]]()
    with tempfile.TemporaryDirectory() as scratch:
        for number, entry in enumerate(entries):
            clip = Path(scratch) / "clip.mp4"
            try:
                thumb = _inline("image/jpeg", thumbnail(entry.episode))
                write_clip(entry.episode, clip)
                pictures.append({"thumb": thumb, "video": _inline("video/mp4", clip.read_bytes())})
            except DamagedEpisodeError as error:
                lost.append(f"{entry.name}: {error.why}")
                pictures.append({"thumb": "", "video": ""})
            on_episode(number + 1, len(entries))
    data = gallery.data(lambda number: pictures[number])
    data["notes"] += lost
    write_whole(path, render(gallery, data).encode())
    return lost


def render(gallery: Gallery, data: dict[str, Any] | None) -> str:
    """The page; with `data` it is whole in itself, without it asks its server for style, script and data."""
    loader = jinja2.FileSystemLoader(STATIC)
    templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    parts: dict[str, str | None] = {"style": None, "script": None, "data": None}
    if data is not None:
        parts = {"style": read("gallery.css"), "script": script(), "data": embedded(data)}
    return templates.get_template("gallery.html").render(title=gallery.root.resolve().name, **parts)


def read(name: str) -> str:
    """A file of the page."""
    return (STATIC / name).read_text(encoding="utf-8")


def script() -> str:
    """The page's script: what draws charts, then the page."""
    return read("charts.js") + "\n" + read("gallery.js")


def embedded(data: dict[str, Any]) -> str:
    """JSON that no text in it can end early, for a script element."""
    text = json.dumps(data)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _inline(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
