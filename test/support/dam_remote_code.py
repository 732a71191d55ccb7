"""The code inside of the tiny checkpoint of dam_checkpoint.py: DAM's interface, our own model.

What the server touches behaves as DAM's does: how it is loaded and where quantization would go, the
picture tensors ([1, 8, 384, 384] in half precision, a second crop around the region), the prompt,
and a `generate` that puts a picture's features in the place of the token -200. On top it has the
faults that a test asks for: by a file (`gate`, `load_gate`: wait while it exists) or by the colour
of a picture's first pixel (red: raises; green: out of memory; blue: out of memory unless alone).
"""

import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PretrainedConfig, PreTrainedModel

PICTURE = -200
SYSTEM = "A chat between a curious user and an artificial intelligence assistant."


class TinyConfig(PretrainedConfig):
    model_type = "llava_llama"

    def __init__(self, width=64, journal="", gate="", load_gate="", load_error="", **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.journal, self.gate = journal, gate
        self.load_gate, self.load_error = load_gate, load_error


class TinyModel(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config, llm, tokenizer):
        super().__init__(config)
        self.llm, self.tokenizer = llm, tokenizer
        self.vision_tower = nn.Conv2d(4, config.width, 96, stride=96)
        self.mm_projector = nn.Linear(config.width, llm.config.hidden_size)
        self.context_provider = nn.Conv2d(4, config.width, 96, stride=96)
        with torch.no_grad():
            for parameter in (*self.vision_tower.parameters(), *self.mm_projector.parameters()):
                # Large enough for every picture to have words of its own.
                parameter.mul_(20)

    @classmethod
    def from_pretrained(cls, path, *args, config, torch_dtype, **kwargs):
        wait_while(config.load_gate)
        if config.load_error == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 6.60 GiB")
        only_llm = {
            name: kwargs[name] for name in ("quantization_config", "device_map") if name in kwargs
        }
        llm = AutoModelForCausalLM.from_pretrained(
            str(Path(path) / "llm"), torch_dtype=torch_dtype, **only_llm
        )
        tokenizer = AutoTokenizer.from_pretrained(
            str(Path(path) / "llm"), use_fast=False, legacy=False
        )
        torch.manual_seed(0)
        return cls(config, llm, tokenizer).to(torch_dtype)

    def init_dam(self, conv_mode, prompt_mode):
        assert (conv_mode, prompt_mode) == ("v1", "full+focal_crop")
        return TinyDescriber(self)

    @torch.no_grad()
    def generate(self, input_ids, images, attention_mask=None, **kwargs):
        with Path(self.config.journal).open("a") as journal:
            journal.write(f"{len(images)} {len(set(map(tuple, input_ids.tolist())))}\n")
        wait_while(self.config.gate)
        for image in images:
            misbehave(image[0, :3, 0, 0].tolist(), len(images))
        pictures = torch.cat(images)
        features = self.vision_tower(pictures[:, :4]) + self.context_provider(pictures[:, 4:])
        features = self.mm_projector(features.flatten(2).transpose(1, 2))
        rows = []
        for ids, feature in zip(input_ids, features, strict=True):
            (place,) = torch.where(ids == PICTURE)[0].tolist()
            embed = self.llm.get_input_embeddings()
            rows.append(torch.cat((embed(ids[:place]), feature, embed(ids[place + 1 :]))))
        words = self.llm.generate(inputs_embeds=torch.stack(rows), **kwargs)
        with Path(self.config.journal + ".tokens").open("a") as journal:
            journal.write(f"{words.shape[1]}\n")
        return words


class TinyDescriber(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.tokenizer = model, model.tokenizer

    def get_prompt(self, query):
        if "<image>" not in query:
            raise ValueError("no <image> tag found in input.")
        return f"{SYSTEM} USER: {query} ASSISTANT:", None

    def get_image_tensor(self, image, mask, crop_mode, crop_mode2):
        assert (crop_mode, crop_mode2) == ("full", "focal_crop")
        assert image.size == mask.size
        rows, columns = np.nonzero(np.asarray(mask))
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        grown = [box[0] - 24, box[1] - 24, box[2] + 24, box[3] + 24]
        crop = [max(0, grown[0]), max(0, grown[1]), *np.minimum(grown[2:], image.size)]
        crop = [int(value) for value in crop]
        parts = [image, mask, image.crop(crop), mask.crop(crop)]
        return torch.cat([to_tensor(part) for part in parts])[None].to(
            self.model.device, dtype=torch.float16
        )


def to_tensor(image):
    array = np.asarray(image.resize((384, 384), Image.NEAREST), np.float32)
    return torch.from_numpy(np.atleast_3d(array)).permute(2, 0, 1) / 127.5 - 1


def misbehave(first_pixel, together):
    if first_pixel == [1, -1, -1]:
        raise ValueError("this picture breaks the model")
    if first_pixel == [-1, 1, -1] or (first_pixel == [-1, -1, 1] and together > 1):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.23 GiB")


def first_frame(path):
    """Never called. DAM's code imports this for videos, and without it nothing of it is loaded."""
    import cv2

    return cv2.VideoCapture(path).read()


def wait_while(path):
    while path and Path(path).exists():
        time.sleep(0.02)
