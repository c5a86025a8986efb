"""Loaded models work in forked children: torch's worker threads do not survive a fork."""

from __future__ import annotations

import functools
import os


@functools.cache
def survive_forks() -> None:
    """From now on a forked child computes with one thread. With more, its first large operation would wait for ever for
    threads that only the parent has (pytorch issue 17199). Every function that loads a model calls this."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_one_thread)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
