"""`Channel`: whole messages over a stream socket, with one system call a message each way unless it is large."""

from __future__ import annotations

import socket
import struct

_LENGTH = struct.Struct("!Q")
_READ = 1 << 16  # bytes that are asked for at once


class Channel:
    """One end. Not for use from several threads at once."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._read = b""  # what came after the last message

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, data: bytes) -> None:
        """Raises OSError if the other end is closed, or takes nothing for as long as the socket's timeout."""
        self._socket.sendall(_LENGTH.pack(len(data)) + data)

    def recv(self) -> bytes:
        """The next message. Raises EOFError if the other end is closed, OSError past the socket's timeout."""
        while (missing := self._missing()) > 0:
            data = self._socket.recv(max(_READ, missing))
            if not data:
                raise EOFError
            self._read = self._read + data if self._read else data
        end = _LENGTH.size + _LENGTH.unpack_from(self._read)[0]
        message, self._read = self._read[_LENGTH.size : end], self._read[end:]
        return message

    @property
    def ready(self) -> bool:
        """Whether `recv` has a whole message already: poll() does not tell of that one."""
        return self._missing() <= 0

    def close(self) -> None:
        self._socket.close()

    def _missing(self) -> int:
        if len(self._read) < _LENGTH.size:
            return _LENGTH.size - len(self._read)
        return int(_LENGTH.size + _LENGTH.unpack_from(self._read)[0] - len(self._read))
