"""`SmallProcessor`: makes of pictures and words what `small` reads, and text of what it writes, for transformers.

`AutoProcessor.from_pretrained(FOLDER)` loads it after `import agent.small.hf`. It keeps nothing: the words are hashed,
and every picture is made 160x120.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import ProcessorMixin
from transformers.feature_extraction_utils import BatchFeature

from agent.policy import Context
from agent.prompted import Setting, Turn
from agent.small.checkpoint import TICK_HZ
from agent.small.model import FRAME_SIZE
from agent.small.output_grammar import Output, decision_of
from agent.small.prompt import Prompt, pack, prompt_of
from agent.small.token_ids import ACT, ANSWER, CAPTION, PAD, PROPOSE, say
from agent.small.word_hashing import split
from agent.view import Picture, fit

ROLES = {"act": ACT, "answer": ANSWER, "caption": CAPTION, "propose": PROPOSE}


class SmallProcessor(ProcessorMixin):
    """Prepares batches for agent.small.hf.SmallForImageTextToText and reads what it writes."""

    attributes: list[str] = []  # noqa: RUF012 - as transformers declares it

    def __init__(self, **_: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __call__(
        self, images: Any = None, text: str | Sequence[str] | None = None, role: str = "act", **_: Any
    ) -> BatchFeature:
        """What `generate` takes. `images`: a picture or several, PIL or uint8 RGB (H, W, 3). `text`: as many
        instructions (role "act") or questions ("answer"); none for "caption" and "propose". Raises ValueError."""
        if role not in ROLES:
            raise ValueError(f"role: expected {', '.join(ROLES)}, got {role!r}")
        pictures = [_picture(image) for image in _listed(images)]
        texts = [text] if isinstance(text, str) else list(text or [""] * len(pictures))
        if not pictures or len(pictures) != len(texts):
            raise ValueError(f"expected as many texts as pictures, and at least one; got {len(texts)}, {len(pictures)}")
        return self._batch(ROLES[role], pictures, [Prompt(split(words)) for words in texts])

    def of_contexts(self, contexts: Sequence[Context]) -> BatchFeature:
        """What `generate` takes to decide for contexts: their past is in it too."""
        return self._batch(ACT, [context.frames[-1] for context in contexts], [prompt_of(c) for c in contexts])

    def decode(self, token_ids: Any, **_: Any) -> str:
        """What was written: a decision in the action language (agent/codec.py), or the words of another role. Raises
        ValueError for what the model can't have written."""
        role, *ids = map(int, token_ids)
        if role not in ROLES.values():
            raise ValueError("expected ids that begin with a role, as generate returns them")
        if not ids:
            return ""  # what pipelines call the prompt
        output = Output(role)
        for token in ids:
            if output.done or token == PAD:
                break
            output.add(token)
        if role != ACT:
            return say(output.tokens)
        if not output.done:
            raise ValueError("the decision broke off; max_new_tokens should be at least 32")
        decision, setting = decision_of(output), Setting(tick_hz=TICK_HZ)
        plan = setting.plan_of(decision.actions, done=decision.done)
        return setting.write(Turn(plan, decision.thought, decision.speech))

    def batch_decode(self, sequences: Any, **_: Any) -> list[str]:
        """`decode` of each row."""
        return [self.decode(row) for row in sequences]

    def post_process_image_text_to_text(
        self, generated_outputs: Any, skip_special_tokens: bool = True, **_: Any
    ) -> list[str]:
        """`batch_decode`, as pipelines call it."""
        return self.batch_decode(generated_outputs)

    def _batch(self, role: int, pictures: Sequence[Picture], prompts: Sequence[Prompt]) -> BatchFeature:
        arrays = {name: value for name, value in vars(pack([[p] for p in prompts])).items() if value is not None}
        pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        return BatchFeature({"input_ids": torch.full((len(prompts), 1), role), "pixel_values": pixels, **arrays})


def _listed(images: Any) -> list[Any]:
    if images is None:
        return []
    if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim == 3):
        return [images]
    return [one for image in images for one in (_listed(image) if isinstance(image, list | tuple) else [image])]


def _picture(image: Any) -> Picture:
    """Any picture as the model sees it."""
    if isinstance(image, Image.Image):
        image = np.asarray(image.convert("RGB"))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError("expected pictures of PIL, or uint8 RGB arrays (H, W, 3)")
    return fit(image, FRAME_SIZE)
