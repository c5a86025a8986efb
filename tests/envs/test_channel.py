"""Messages over a socket arrive whole, in order, and with one system call where they are small."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from envs.channel import Channel


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    yield Channel(ours), Channel(theirs)
    ours.close()
    theirs.close()


def test_messages_arrive_whole_and_in_order(ends):
    here, there = ends
    for message in (b"one", b"", b"three" * 100):
        here.send(message)
    assert not there.ready  # nothing is read yet
    assert there.recv() == b"one"
    assert there.ready  # the first read brought them all
    assert [there.recv(), there.recv()] == [b"", b"three" * 100]
    assert not there.ready
    there.send(b"back")
    assert here.recv() == b"back"


def test_a_message_larger_than_any_buffer(ends):
    here, there = ends
    large = bytes(range(256)) * 20_000
    sender = threading.Thread(target=lambda: (here.send(large), here.send(b"next")))
    sender.start()
    assert there.recv() == large
    assert there.recv() == b"next"
    sender.join()


def test_the_end_of_the_other_side(ends):
    here, there = ends
    here.send(b"last")
    here.close()
    assert there.recv() == b"last"
    with pytest.raises(EOFError):
        there.recv()
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        there.send(b"to nobody")


def test_who_stops_in_the_middle_of_a_message_is_not_waited_for():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 50_000))
        theirs.sendall(struct.pack("!Q", 10) + b"half")
        with pytest.raises(BlockingIOError):
            Channel(ours).recv()
