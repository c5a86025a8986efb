"""`app_of`: an application that serves the files of a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse


def app_of(folder: Path, files: Mapping[str, str]) -> FastAPI:
    """An application that serves `files`, names in `folder` by their paths, and nothing else yet: no icon, no pages
    about itself."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    for path, name in files.items():
        app.add_api_route(path, _file(folder / name), methods=["GET", "HEAD"])
    app.add_api_route("/favicon.ico", lambda: Response(status_code=204), methods=["GET"])
    return app


def _file(path: Path) -> Callable[[], FileResponse]:
    return lambda: FileResponse(path)
