"""`folder_of`: a model as a folder, whether it lies on this machine or on the Hugging Face hub.

From the hub come data alone: settings, tokenizers and safetensors, no code and no pickles. The folder is then checked
and loaded as any other.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from envs.errors import UserError

DATA = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.tiktoken")  # files of a model that hold no code
_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?|[\w.-]+")


def folder_of(name: str | Path) -> Path:
    """The folder that `name` names, or the one into which the hub's `USER/NAME` or `USER/NAME@REVISION` was
    downloaded. Raises UserError where there is neither."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists() or not _NAME.fullmatch(str(name)) or str(name).startswith("."):
        raise UserError(
            f"{name}: no folder there, and no name of the hub; expected a folder, USER/NAME or USER/NAME@REV"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    repository, _, revision = str(name).partition("@")
    try:
        found = snapshot_download(
            repository, revision=revision or None, allow_patterns=list(DATA), ignore_patterns=["*/*"],
            endpoint=endpoint(),
        )  # fmt: skip
    except GatedRepoError as error:
        raise UserError(
            f"{repository} asks for your consent first: give it at {hub()}/{repository}, then 'hf auth login'"
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(f"{repository} has no revision {revision!r} on {hub()}") from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{name}: no folder here, and no such repository on {hub()}, or a private one: then 'hf auth login' first"
        ) from error
    except (HFValidationError, OSError) as error:
        raise UserError(f"{repository} can't be had from {hub()}: {' '.join(str(error).split())[:300]}") from error
    return Path(found)


def endpoint() -> str | None:
    """The hub that the environment names; None for the usual one."""
    return os.environ.get("HF_ENDPOINT") or None


def hub() -> str:
    """The hub's address, for messages."""
    from huggingface_hub import constants

    return endpoint() or constants.ENDPOINT
