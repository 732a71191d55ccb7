"""The loaded model, which turns images into descriptions.

Only one thread at a time calls it, except ``Dam.prepare``, which any thread may call.
"""

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

# The remote code replaces this token id by the image.
_IMAGE_ID = -200


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One description, as OpenAI's API reports it."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


class Dam:
    """DAM on top of what AutoModel returns for DAM-3B-Self-Contained."""

    def __init__(self, model: Any, conversation: str, crops: str) -> None:
        """``conversation`` and ``crops``: how the model was trained, see loading.py."""
        self._model = model
        self._dam = model.init_dam(conv_mode=conversation, prompt_mode=crops)
        self._crops = crops.split("+")
        self._tokenizer = self._dam.tokenizer
        ends = model.llm.generation_config.eos_token_id
        # The original also stops at the text of this token, by a criterion that breaks batches.
        self._ends = sorted({*(ends if isinstance(ends, list) else [ends]), self._eos()} - {None})
        self._prompt_tokens = 0
        model.llm.register_forward_pre_hook(self._count, with_kwargs=True)

    def prepare(self, image: Image.Image, mask: Image.Image) -> torch.Tensor:
        """Return the whole image and the crop, each with its mask: [1, 8, 384, 384], on the CPU.

        Any thread may call this. Raises OutOfMemory.
        """
        try:
            return self._dam.get_image_tensor(image, mask, *self._crops).cpu()
        except Exception as error:
            failure = self._meaning(error)
        raise failure

    def generate(
        self,
        query: str,
        images: Sequence[torch.Tensor],
        sampling: Sampling,
        cancelled: Callable[[], list[bool]],
    ) -> list[Completion]:
        """Describe all images with one query in one batch.

        ``cancelled`` is called after each token and returns for each image whether its description
        can end. Raises OutOfMemory, DeviceLost, and whatever the model's own code raises.
        """
        try:
            return self._generate(query, images, sampling, cancelled)
        except Exception as error:
            failure = self._meaning(error)
        # The frames of the error hold memory up to the end of the except block.
        if isinstance(failure, OutOfMemory) and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        raise failure

    def warm_up(self) -> None:
        """Describe a grey square with one token, so that a broken model fails at the start."""
        image = Image.fromarray(np.full((64, 64, 3), 128, np.uint8))
        mask = Image.fromarray(np.pad(np.full((32, 32), 255, np.uint8), 16))
        sampling = Sampling(temperature=0, top_p=1, num_beams=1, max_tokens=1)
        self.generate("<image>\nx", [self.prepare(image, mask)], sampling, lambda: [False])

    def _generate(
        self,
        query: str,
        images: Sequence[torch.Tensor],
        sampling: Sampling,
        cancelled: Callable[[], list[bool]],
    ) -> list[Completion]:
        device, dtype = self._model.device, self._model.dtype
        ids = torch.tensor([self._token_ids(query)] * len(images), device=device)
        sampled = sampling.temperature > 0
        if sampling.seed is not None:
            set_seed(sampling.seed % 2**32)
        self._prompt_tokens = ids.shape[1]
        with torch.inference_mode():
            rows = self._model.generate(
                input_ids=ids,
                images=[image.to(device=device, dtype=dtype) for image in images],
                do_sample=sampled,
                temperature=sampling.temperature if sampled else None,
                top_p=sampling.top_p if sampled else None,
                num_beams=sampling.num_beams,
                max_new_tokens=sampling.max_tokens,
                pad_token_id=self._pad(),
                eos_token_id=self._ends,
                use_cache=True,
                stopping_criteria=StoppingCriteriaList([_Cancelled(cancelled)]),
            )
        return [self._completion(row) for row in rows.tolist()]

    def _completion(self, row: list[int]) -> Completion:
        end = next((index for index, token in enumerate(row) if token in self._ends), None)
        tokens = row if end is None else row[:end]
        return Completion(
            text=self._tokenizer.decode(tokens, skip_special_tokens=True).strip(),
            finish_reason="length" if end is None else "stop",
            prompt_tokens=self._prompt_tokens,
            completion_tokens=len(tokens) + (end is not None),
        )

    def _token_ids(self, query: str) -> list[int]:
        before, after = self._dam.get_prompt(query)[0].split("<image>")
        tail = list(self._tokenizer(after).input_ids)
        if tail and tail[0] == self._tokenizer.bos_token_id:
            del tail[0]
        return [*self._tokenizer(before).input_ids, _IMAGE_ID, *tail]

    def _eos(self) -> int | None:
        return self._tokenizer.eos_token_id

    def _pad(self) -> int:
        pad = self._tokenizer.pad_token_id
        return 0 if pad is None else pad

    def _count(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        # The first call of a generation has the whole prompt with the tokens of the image.
        embeddings = kwargs.get("inputs_embeds")
        if embeddings is not None:
            self._prompt_tokens = max(self._prompt_tokens, embeddings.shape[1])

    def _meaning(self, error: Exception) -> Exception:
        """Return OutOfMemory or DeviceLost if the error means that, else the error itself."""
        if is_out_of_memory(error):
            return OutOfMemory(str(error).split("\n")[0])
        if self._model.device.type == "cuda":
            try:
                torch.cuda.synchronize()
            except Exception as lost:
                return DeviceLost(str(lost).split("\n")[0])
        return error


class _Cancelled(StoppingCriteria):
    """Ends the rows of cancelled regions."""

    def __init__(self, cancelled: Callable[[], list[bool]]) -> None:
        self._cancelled = cancelled

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        done = torch.tensor(self._cancelled(), device=input_ids.device)
        # With a beam search a region has several rows.
        return done.repeat_interleave(input_ids.shape[0] // done.shape[0])


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of torch means that the memory of the GPU or the CPU is too small."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # The allocator of the CPU raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
