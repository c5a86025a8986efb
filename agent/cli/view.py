"""`agent view`: the episodes, training curves and generations of a folder on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import console
from envs.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from training.gallery.page import Gallery

app = console.verb()


@app.command()
def view(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run, an episode, or a folder of them.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write the page there, with all pictures in it.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Episodes on the page, spread evenly over those of DIR.")] = 300,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 takes a free one.")] = 0,
) -> None:
    """Look at recorded episodes: a grid of videos with instruction, truth, judge's score and policy.

    \b
    The page filters by outcome, by kind of failure, and by where judge and truth part. It shows two policies on the
    same tasks side by side, the training curves of TensorBoard logs in DIR, and the generations of self-improvement
    runs. The scores are those that agent rewards score --write left. The page is served to this machine alone, until
    Ctrl+C; --out writes one file instead, to keep or to send.

    \b
    Examples:
      agent view runs/20261122-170712-pick-up-the-red-key
      agent view data --out data.html
      agent record --suite doom-basic --policy small --episodes 50 --evaluation --out data/small
      agent record --suite doom-basic --policy random --episodes 50 --evaluation --out data/random
      agent rewards score --reward judge --episodes data/small data/random --write
      agent view data
    """
    screen = console.console()
    if out is not None and out.suffix not in (".html", ".htm"):
        raise UserError(f"--out {out}: expected a name that ends in .html")
    with screen.status("looking"):
        from training.gallery.page import look

        gallery = look(folder, most)
    _tell(screen, gallery)
    if out is not None:
        _write(screen, out, gallery)
        return
    from training.gallery.server import GalleryPage  # loads the web server's packages

    page = GalleryPage(gallery, port)
    try:
        screen.print(f"Page: {page.address}", markup=False)
        screen.print("Ctrl+C ends it.")
        page.wait()
    finally:
        page.close()


def _write(screen: Console, out: Path, gallery: Gallery) -> None:
    from training.gallery.page import write_gallery

    try:
        with console.progress(screen) as bars:
            bar = bars.add_task("videos", total=len(gallery.found.entries), note="")
            write_gallery(out, gallery, lambda done, total: bars.update(bar, completed=done))
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror or error}") from error
    screen.print(f"Page: {out} ({out.stat().st_size / 2**20:.1f} MiB)", markup=False)


def _tell(screen: Console, gallery: Gallery) -> None:
    found = gallery.found
    parts = [f"{len(found.entries)} episodes", f"{len(gallery.curves)} curves", f"{len(gallery.runs)} runs"]
    screen.print(", ".join(parts))
    if found.left_out:
        screen.print(f"{found.left_out} more episodes are left out: --most {len(found.entries) + found.left_out}")
    for name, why in found.damaged:
        screen.print(f"damaged, left out: {name}: {why}", style="yellow", markup=False)
    for note in gallery.notes:
        screen.print(note, style="yellow", markup=False)
