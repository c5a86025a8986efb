"""Text that others wrote, made into text that every file, prompt and page can hold."""

from __future__ import annotations

import re

REPLACEMENT = "\ufffd"
_WRONG = re.compile("[\x00\ud800-\udfff]")


def encodable(text: str) -> str:
    """`text` with a replacement character for every NUL and every half of a surrogate pair; two halves are joined.

    Python keeps a half in a string (JSON may escape it, and bytes of a command line that are no UTF-8 become one), but
    UTF-8 has none, so that a file with it can't be written. Databases and C libraries end a text at NUL.
    """
    if not _WRONG.search(text):
        return text
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return joined.replace("\x00", REPLACEMENT)
