"""`hf:FOLDER`: any chat or image-text model of transformers, in this process.

Where the package xgrammar is installed (the extra `schema`), it makes the model write JSON that fits the schema.
Elsewhere the prompt asks for it in words and the answer is checked afterwards, as with every backend.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from queue import Empty
from types import SimpleNamespace
from typing import Any

from agent.models.base import (
    Delta,
    Message,
    ModelError,
    RefusedError,
    Reply,
    Request,
    UnavailableError,
    Usage,
)
from agent.models.choice import NoChoiceError, likeliest, plain
from agent.models.config import Settings
from agent.models.thoughts import ThoughtFilter, split_thought
from envs.errors import UserError


class HfBackend:
    """A model of transformers and its processor, or its tokenizer where the model reads text alone.

    It makes one reply at a time; other calls wait within their own deadlines. Raises ValueError where there is no chat
    template.
    """

    free = True

    def __init__(self, model: Any, processor: Any, *, name: str) -> None:
        from agent.vlm.chat_template import Cleaner, end_of_turn

        self.name, self._model, self._processor = name, model.eval(), processor
        self._sees = hasattr(processor, "tokenizer")
        self._tokenizer = processor.tokenizer if self._sees else processor
        if not getattr(processor, "chat_template", None):
            raise ValueError("the model has no chat template; take one that was made for dialogue")
        self._clean = Cleaner(processor if self._sees else SimpleNamespace(tokenizer=processor))
        ends = {self._tokenizer.eos_token_id, *_ids(model.generation_config.eos_token_id)}
        if self._sees:
            ends.add(end_of_turn(processor))
        self._ends = sorted(end for end in ends if end is not None)
        self._compiler: Any = None
        self._beginnings: dict[tuple[str, ...], dict[str, list[int]]] = {}
        self._lock = threading.Lock()

    def complete(self, request: Request, seconds: float) -> Reply:
        *_, reply = self.stream(request, seconds)
        assert isinstance(reply, Reply)
        return reply

    def stream(self, request: Request, seconds: float) -> Iterator[Delta | Reply]:
        from transformers import TextIteratorStreamer

        end = time.monotonic() + seconds
        late = UnavailableError(f"{self.name} gave no whole answer in {seconds:.1f} s")
        if not self._lock.acquire(timeout=max(0.0, seconds)):
            raise late
        stop = threading.Event()
        thread: threading.Thread | None = None
        try:
            inputs = self._inputs(request)
            streamer = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True, timeout=0.1)
            made: dict[str, Any] = {}

            def write() -> None:
                try:
                    made["ids"] = self._generate(inputs, request, streamer, stop, end)
                except BaseException as error:  # raised again in the thread that reads the stream
                    made["error"] = error
                finally:
                    streamer.end()

            thread = threading.Thread(target=write, name="model", daemon=True)
            thread.start()
            marks = ThoughtFilter()
            for piece in _pieces(streamer, end, late):
                yield from marks.feed(piece)
            yield from marks.end()
            thread.join()
            if "error" in made:
                raise RefusedError(f"{self.name}: {type(made['error']).__name__}: {made['error']}") from made["error"]
            if time.monotonic() > end:
                raise late
            yield self._reply(made["ids"], inputs["input_ids"].shape[1])
        finally:
            stop.set()
            if thread is not None:
                thread.join()
            self._lock.release()

    def choose(self, request: Request, choices: Sequence[str], seconds: float) -> Reply:
        """See `agent.models.choice.Chooses`. It takes one forward pass, which is not interrupted at the deadline."""
        import torch
        from transformers import GenerationConfig

        end = time.monotonic() + seconds
        late = UnavailableError(f"{self.name} gave no whole answer in {seconds:.1f} s")
        if not self._lock.acquire(timeout=max(0.0, seconds)):
            raise late
        try:
            key = tuple(choices)
            if key not in self._beginnings:
                self._beginnings[key] = beginnings(self._tokenizer, choices)
            inputs = self._inputs(request)
            config = GenerationConfig(
                max_new_tokens=1, do_sample=False, return_dict_in_generate=True, output_logits=True,
                eos_token_id=self._ends,
                pad_token_id=self._ends[0] if self._tokenizer.pad_token_id is None else self._tokenizer.pad_token_id,
            )  # fmt: skip
            with torch.inference_mode():
                (logits,) = self._model.generate(**inputs, generation_config=config).logits
            logs = torch.log_softmax(logits[0].float(), dim=-1)
            found = {choice: float(logs[ids].logsumexp(0)) for choice, ids in self._beginnings[key].items()}
        except ModelError:
            raise
        except Exception as error:  # a foreign model: it may raise anything
            raise RefusedError(f"{self.name}: {type(error).__name__}: {error}") from error
        finally:
            self._lock.release()
        if time.monotonic() > end:
            raise late
        return Reply(likeliest(found), self.name, Usage(inputs["input_ids"].shape[1], 1), data=found)

    def close(self) -> None:
        """The memory is freed with the last reference to the model."""

    def _inputs(self, request: Request) -> Mapping[str, Any]:
        from agent.vlm.chat_template import to_model

        chat = [self._message(message) for message in request.messages]
        thinking = {} if request.think is None else {"enable_thinking": request.think > 0}
        inputs = self._processor.apply_chat_template(
            chat, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt", **thinking
        )
        room = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        length = inputs["input_ids"].shape[1]
        if room is not None and length + request.max_tokens > room:
            raise RefusedError(
                f"{self.name}: {length} tokens and {request.max_tokens} to write; it has room for {room}"
            )
        return to_model(inputs, self._model)

    def _message(self, message: Message) -> dict[str, Any]:
        from PIL import Image

        text = self._clean(message.text)
        if not self._sees:
            if message.images:
                raise RefusedError(f"{self.name} sees no pictures; take a vision-language model")
            return {"role": message.role, "content": text}
        parts = [{"type": "image", "image": Image.fromarray(image)} for image in message.images]
        return {"role": message.role, "content": [*parts, {"type": "text", "text": text}]}

    def _generate(self, inputs: Any, request: Request, streamer: Any, stop: threading.Event, end: float) -> list[int]:
        import torch
        from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

        class Ended(StoppingCriteria):
            def __call__(self, input_ids: Any, scores: Any, **rest: Any) -> Any:
                over = stop.is_set() or time.monotonic() > end
                return torch.full((input_ids.shape[0],), over, device=input_ids.device, dtype=torch.bool)

        sampled = bool(request.temperature)
        config = GenerationConfig(
            max_new_tokens=request.max_tokens + (request.think or 0),
            do_sample=sampled,
            temperature=request.temperature if sampled else None,
            eos_token_id=self._ends,
            pad_token_id=self._ends[0] if self._tokenizer.pad_token_id is None else self._tokenizer.pad_token_id,
        )
        # the seed is for this call alone: torch's global generator goes on as if the call had not been
        devices = [self._model.device] if self._model.device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices):
            torch.manual_seed(request.seed or 0)
            out = self._model.generate(
                **inputs,
                generation_config=config,
                streamer=streamer,
                stopping_criteria=StoppingCriteriaList([Ended()]),
                logits_processor=self._rules(request.schema),
            )
        result: list[int] = out[0].tolist()
        return result

    def _rules(self, schema: Mapping[str, Any] | None) -> list[Any]:
        """The logits processor that keeps an output within a schema, where xgrammar is installed."""
        if schema is None or find_spec("xgrammar") is None:
            return []
        import xgrammar
        from xgrammar.contrib.hf import LogitsProcessor

        if self._compiler is None:
            size = self._model.get_output_embeddings().weight.shape[0]
            info = xgrammar.TokenizerInfo.from_huggingface(self._tokenizer, vocab_size=size, stop_token_ids=self._ends)
            self._compiler = xgrammar.GrammarCompiler(info)
        compiled = self._compiler.compile_json_schema(json.dumps(dict(schema)), any_whitespace=False)
        return [LogitsProcessor(compiled)]

    def _reply(self, ids: list[int], prompt: int) -> Reply:
        written = ids[prompt:]
        thought, text = split_thought(self._tokenizer.decode(written, skip_special_tokens=True))
        ended = bool(written) and written[-1] in self._ends
        thinking = len(self._tokenizer.encode(thought, add_special_tokens=False)) if thought else 0
        usage = Usage(prompt, len(written), thinking)
        return Reply(text, self.name, usage, thought, "stop" if ended else "length")


def beginnings(tokenizer: Any, choices: Sequence[str]) -> dict[str, list[int]]:
    """The tokens that each choice is: all its spellings that are one token, or else the first token of its encoding.

    Raises NoChoiceError where two choices begin with the same token.
    """
    found: dict[str, list[int]] = {choice: [] for choice in choices}
    for piece, number in tokenizer.get_vocab().items():
        if (word := plain(piece)) in found:
            found[word].append(number)
    for choice, ids in found.items():
        ids += [] if ids else tokenizer.encode(choice, add_special_tokens=False)[:1]
    every = [number for ids in found.values() for number in ids]
    if len(set(every)) < len(every) or not all(found.values()):
        raise NoChoiceError(f"the tokenizer can't tell {', '.join(choices)} by their first token; take others")
    return found


def _pieces(streamer: Any, end: float, late: UnavailableError) -> Iterator[str]:
    """The pieces of text from a streamer. Raises `late` after the time `end`."""
    while True:
        try:
            piece = next(streamer)
        except StopIteration:
            return
        except Empty:
            if time.monotonic() > end:
                raise late from None
            continue
        if piece:
            yield piece


def _ids(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def load_hf_chat(argument: str = "", *, settings: Settings) -> HfBackend:
    """The backend `hf:NAME`: a folder, or a name of the Hugging Face hub. Raises OSError or ValueError."""
    if not argument:
        raise UserError("say which model: hf:FOLDER, or hf:NAME of the Hugging Face hub")
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    from agent.hub_download import folder_of
    from agent.vlm.foreign_code import refuse_foreign_code
    from agent.vlm.policy import load_model

    folder = folder_of(argument)
    source = str(folder.resolve())
    refuse_foreign_code(folder)
    kind = AutoConfig.from_pretrained(source, trust_remote_code=False).model_type
    if kind == "ludens-small":
        raise UserError(f"that is a checkpoint of small: take small:{argument}")
    name = f"hf:{argument}"
    if kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return HfBackend(*load_model(source), name=name)
    import torch

    from agent.forked_torch import survive_forks

    survive_forks()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    model: Any = AutoModelForCausalLM.from_pretrained(
        source, dtype=dtype, trust_remote_code=False, use_safetensors=True
    )
    return HfBackend(model.to(device), tokenizer, name=name)
