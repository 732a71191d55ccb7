"""The loaded model: pictures in, words out. Everything here is called from one thread at a time,
but for `Dam.prepare`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import StoppingCriteria, StoppingCriteriaList, set_seed

from deep_perception.dam_server.errors import DeviceLost, OutOfMemory
from deep_perception.dam_server.options import Sampling

# The remote code's stand-in for the picture among the token ids.
_PICTURE_ID = -200


@dataclass(frozen=True, kw_only=True)
class Answer:
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


class Dam:
    """`whole` is what AutoModel gives for DAM-3B-Self-Contained."""

    def __init__(self, whole: Any, conversation: str, pictures: str) -> None:
        self._whole = whole
        self._dam = whole.init_dam(conv_mode=conversation, prompt_mode=pictures)
        self._crops = pictures.split("+")
        self._tokenizer = self._dam.tokenizer
        ends = whole.llm.generation_config.eos_token_id
        # The original stops at this text as well, with a criterion that spoils batches.
        self._ends = sorted({*(ends if isinstance(ends, list) else [ends]), self._eos()} - {None})
        self._prompt_tokens = 0
        whole.llm.register_forward_pre_hook(self._count, with_kwargs=True)

    def prepare(self, image: Image.Image, mask: Image.Image) -> torch.Tensor:
        """The whole picture and the crop, each with its mask: [1, 8, 384, 384], on the CPU.

        May be called from any thread. Raises OutOfMemory.
        """
        try:
            return self._dam.get_image_tensor(image, mask, *self._crops).cpu()
        except Exception as error:
            failure = self._meaning(error)
        raise failure

    def generate(
        self,
        query: str,
        pictures: Sequence[torch.Tensor],
        sampling: Sampling,
        abandoned: Callable[[], list[bool]],
    ) -> list[Answer]:
        """Describe all pictures with one query in one go.

        `abandoned` tells, while it goes on, whose answers nobody waits for any more. Raises
        OutOfMemory, DeviceLost, and whatever the model's own code raises.
        """
        try:
            return self._generate(query, pictures, sampling, abandoned)
        except Exception as error:
            failure = self._meaning(error)
        # Only here is the memory free that the frames of the error held.
        if isinstance(failure, OutOfMemory) and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        raise failure

    def try_out(self) -> None:
        """Describe a grey square with one token: what cannot work fails here."""
        image = Image.fromarray(np.full((64, 64, 3), 128, np.uint8))
        mask = Image.fromarray(np.pad(np.full((32, 32), 255, np.uint8), 16))
        sampling = Sampling(temperature=0, top_p=1, num_beams=1, max_tokens=1)
        self.generate("<image>\nx", [self.prepare(image, mask)], sampling, lambda: [False])

    def _generate(
        self,
        query: str,
        pictures: Sequence[torch.Tensor],
        sampling: Sampling,
        abandoned: Callable[[], list[bool]],
    ) -> list[Answer]:
        device, dtype = self._whole.device, self._whole.dtype
        ids = torch.tensor([self._token_ids(query)] * len(pictures), device=device)
        drawn = sampling.temperature > 0
        if sampling.seed is not None:
            set_seed(sampling.seed % 2**32)
        self._prompt_tokens = ids.shape[1]
        with torch.inference_mode():
            rows = self._whole.generate(
                input_ids=ids,
                images=[picture.to(device=device, dtype=dtype) for picture in pictures],
                do_sample=drawn,
                temperature=sampling.temperature if drawn else None,
                top_p=sampling.top_p if drawn else None,
                num_beams=sampling.num_beams,
                max_new_tokens=sampling.max_tokens,
                pad_token_id=self._pad(),
                eos_token_id=self._ends,
                use_cache=True,
                stopping_criteria=StoppingCriteriaList([_Abandoned(abandoned)]),
            )
        return [self._answer(row) for row in rows.tolist()]

    def _answer(self, row: list[int]) -> Answer:
        end = next((place for place, token in enumerate(row) if token in self._ends), None)
        words = row if end is None else row[:end]
        return Answer(
            text=self._tokenizer.decode(words, skip_special_tokens=True).strip(),
            finish_reason="length" if end is None else "stop",
            prompt_tokens=self._prompt_tokens,
            completion_tokens=len(words) + (end is not None),
        )

    def _token_ids(self, query: str) -> list[int]:
        before, after = self._dam.get_prompt(query)[0].split("<image>")
        tail = list(self._tokenizer(after).input_ids)
        if tail and tail[0] == self._tokenizer.bos_token_id:
            del tail[0]
        return [*self._tokenizer(before).input_ids, _PICTURE_ID, *tail]

    def _eos(self) -> int | None:
        return self._tokenizer.eos_token_id

    def _pad(self) -> int:
        pad = self._tokenizer.pad_token_id
        return 0 if pad is None else pad

    def _count(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        # The first call of a generation has all of the prompt, the picture's tokens included.
        embeddings = kwargs.get("inputs_embeds")
        if embeddings is not None:
            self._prompt_tokens = max(self._prompt_tokens, embeddings.shape[1])

    def _meaning(self, error: Exception) -> Exception:
        """OutOfMemory or DeviceLost if `error` means that, else `error`."""
        if is_out_of_memory(error):
            return OutOfMemory(str(error).split("\n")[0])
        if self._whole.device.type == "cuda":
            try:
                torch.cuda.synchronize()
            except Exception as lost:
                return DeviceLost(str(lost).split("\n")[0])
        return error


class _Abandoned(StoppingCriteria):
    """Ends the rows that nobody waits for."""

    def __init__(self, abandoned: Callable[[], list[bool]]) -> None:
        self._abandoned = abandoned

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        done = torch.tensor(self._abandoned(), device=input_ids.device)
        # With beams a region has several rows.
        return done.repeat_interleave(input_ids.shape[0] // done.shape[0])


def is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # A CPU's allocator has no type of its own.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
