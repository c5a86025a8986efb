"""A stand-in for the Hugging Face hub on the loopback interface, which the hub's own client fills and reads.

It knows what huggingface_hub asks for when it makes a repository, commits files and downloads a snapshot. Every file is
"regular": it comes in the commit itself, where the real hub takes large ones apart.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

TOKEN = "hf_of_these_tests"


@dataclass
class Repository:
    private: bool
    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{}])

    def sha(self, number: int = -1) -> str:
        files = self.commits[number]
        return hashlib.sha1(b"".join(name.encode() + files[name] for name in sorted(files))).hexdigest()

    def at(self, revision: str) -> dict[str, bytes] | None:
        if revision == "main":
            return self.commits[-1]
        return next((files for n, files in enumerate(self.commits) if self.sha(n) == revision), None)


class Hub(ThreadingHTTPServer):
    """`repositories` by name; `fetched`: the files that were downloaded."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.fetched: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            return self._json({"error": "Invalid credentials"}, 401)
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            name = name if "/" in name else f"me/{name}"
            there = name in self.server.repositories
            private = asked.get("private", asked.get("visibility") == "private")
            self.server.repositories.setdefault(name, Repository(bool(private)))
            told = {"url": f"{self.server.url}/{name}", "name": name, "id": name}
            return self._json(told, 409 if there else 200)
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if match := re.fullmatch(r"/api/models/(.+)/preupload/main(\?.*)?", self.path):
            files = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                     for file in json.loads(body)["files"]]  # fmt: skip
            return self._json({"files": files})
        if match := re.fullmatch(r"/api/models/(.+)/commit/main(\?.*)?", self.path):
            repository = self.server.repositories[match[1]]
            files = dict(repository.commits[-1])
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            repository.commits.append(files)
            url = f"{self.server.url}/{match[1]}/commit/{repository.sha()}"
            return self._json({"success": True, "commitOid": repository.sha(), "commitUrl": url})
        return self._json({"error": f"nothing at {self.path}"}, 404)

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        if match := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)(?:/revision/([\w.-]+))?", path):
            return self._info(match[1], match[2] or "main")
        if match := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/tree/([\w.-]+)/?", path):
            return self._tree(match[1], match[2])
        if match := re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/([\w.-]+)/(.+)", path):
            return self._file(*match.groups())
        return self._json({"error": f"nothing at {path}"}, 404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _found(self, name: str, revision: str) -> tuple[Repository, dict[str, bytes]] | None:
        repository = self.server.repositories.get(name)
        may = self.headers.get("authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not may):
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return None
        files = repository.at(revision)
        if files is None:
            self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
            return None
        return repository, files

    def _info(self, name: str, revision: str) -> None:
        if found := self._found(name, revision):
            repository, files = found
            sha = repository.sha() if revision == "main" else revision
            self._json({"id": name, "modelId": name, "sha": sha, "private": repository.private, "tags": [],
                        "downloads": 0, "likes": 0, "siblings": [{"rfilename": file} for file in files]})  # fmt: skip

    def _tree(self, name: str, revision: str) -> None:
        if found := self._found(name, revision):
            self._json([{"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                        for path, data in found[1].items()])  # fmt: skip

    def _file(self, name: str, revision: str, path: str) -> None:
        if not (found := self._found(name, revision)):
            return
        repository, files = found
        if path not in files:
            self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        if self.command == "GET":
            self.server.fetched.append(path)
        sha = repository.sha() if revision == "main" else revision
        etag = hashlib.sha1(files[path]).hexdigest()
        self._send(files[path], 200, {"ETag": f'"{etag}"', "X-Repo-Commit": sha, "Content-Type": "text/plain"})

    def _json(self, data: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(data).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def hub() -> Iterator[Hub]:
    """A hub without repositories."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
