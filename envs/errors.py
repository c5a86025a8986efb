"""`UserError`: what a person can mend, said in one line."""

from __future__ import annotations


class UserError(Exception):
    """Wrong input or a missing part: the message is one line that says what is wrong and how to mend it.

    The command line prints the message alone and exits with status 2.
    """
