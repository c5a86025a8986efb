"""`GalleryPage`: a gallery in the browser, served to this machine alone; pictures are made when they are looked at."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse, Response

from agent.page.gate import Gate
from agent.web.background import Background, listen
from agent.web.doorkeeper import Doorkeeper
from training.data.episodes import DamagedEpisodeError
from training.gallery.page import Gallery, read, render, script
from training.gallery.pictures import thumbnail, write_clip


class GalleryPage:
    """Serves a gallery on 127.0.0.1. `address`: what the person opens, with the token. `port`: 0 takes a free one.
    Raises UserError if it is taken."""

    def __init__(self, gallery: Gallery, port: int = 0) -> None:
        self._gallery = gallery
        self._scratch = TemporaryDirectory(prefix="ludens-gallery-")
        self._making = threading.Lock()  # one video at a time: a page asks for many
        sock, doorkeeper = listen(port), Doorkeeper()
        self.port: int = sock.getsockname()[1]
        gate = Gate(self._app(), self.port, doorkeeper)
        self.address = f"http://127.0.0.1:{self.port}/?token={gate.token}"
        failed = "the gallery did not start; write it to a file with --out"
        self._server = Background(gate, sock, doorkeeper, name="gallery", failed=failed)

    def wait(self) -> None:
        """Serve until Ctrl+C."""
        while self._server.alive:
            time.sleep(0.2)

    def close(self) -> None:
        """Stop serving. Safe to call twice."""
        self._server.close()
        self._scratch.cleanup()

    def _app(self) -> FastAPI:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        get = {
            "/": lambda: Response(render(self._gallery, None), media_type="text/html"),
            "/gallery.css": lambda: Response(read("gallery.css"), media_type="text/css"),
            "/gallery.js": lambda: Response(script(), media_type="text/javascript"),
            "/favicon.ico": lambda: Response(status_code=204),
            "/gallery.json": self._data,
        }
        for path, answer in get.items():
            app.add_api_route(path, answer, methods=["GET"], response_model=None)
        app.add_api_route("/thumb/{number}", self._thumb, methods=["GET"], response_model=None)
        app.add_api_route("/video/{number}", self._video, methods=["GET"], response_model=None)
        return app

    def _data(self) -> Response:
        return JSONResponse(self._gallery.data(lambda number: {"thumb": f"thumb/{number}", "video": f"video/{number}"}))

    async def _thumb(self, number: int) -> Response:
        if not 0 <= number < len(self._gallery.found.entries):
            return Response("there is no such episode\n", 404)
        try:
            picture = await asyncio.to_thread(thumbnail, self._gallery.found.entries[number].episode)
        except DamagedEpisodeError as error:
            return Response(f"{error}\n", 404)
        return Response(picture, media_type="image/jpeg")

    async def _video(self, number: int) -> Response:
        if not 0 <= number < len(self._gallery.found.entries):
            return Response("there is no such episode\n", 404)
        try:
            return FileResponse(await asyncio.to_thread(self._clip, number), media_type="video/mp4")
        except DamagedEpisodeError as error:
            return Response(f"{error}\n", 404)

    def _clip(self, number: int) -> Path:
        path = Path(self._scratch.name) / f"{number}.mp4"
        with self._making:
            if not path.exists():
                part = path.with_suffix(".part")
                write_clip(self._gallery.found.entries[number].episode, part)
                part.rename(path)
        return path
