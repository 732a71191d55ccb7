"""SAM2 checkpoints under Meta's names, and settings of the segmenter for tests."""

import re

import numpy as np

from deep_perception.settings.options import settings_from

SIDE = 256
# Prompt points in the photograph of the SAM2 tests: x, y in pixels.
POINTS = np.array([[40, 30], [160, 100], [300, 200], [5, 200], [220, 60]])


def sam2_settings(checkpoint, **changes):
    """Settings of a small SAM2 on the CPU; ``changes`` are settings of the segmenter."""
    small = {"checkpoint": str(checkpoint), "device": "cpu", "image_size": SIDE}
    return settings_from({f"segmenter.{name}": v for name, v in {**small, **changes}.items()})


def official_state(state):
    """Weights of transformers under Meta's names: an independent inverse of the key map."""
    heads = {"proj_in": "layers.0", "layers.0": "layers.1", "proj_out": "layers.2"}
    parts = {
        "mask_embed.conv1": "mask_downscaling.0", "mask_embed.layer_norm1": "mask_downscaling.1",
        "mask_embed.conv2": "mask_downscaling.3", "mask_embed.layer_norm2": "mask_downscaling.4",
        "mask_embed.conv3": "mask_downscaling.6", "upscale_conv1": "output_upscaling.0",
        "upscale_layer_norm": "output_upscaling.1", "upscale_conv2": "output_upscaling.3",
        "no_memory_embedding": "no_mem_embed", "vision_encoder.backbone": "image_encoder.trunk",
        "patch_embed.projection": "patch_embed.proj", "o_proj": "out_proj",
        "mlp.proj_in": "mlp.layers.0", "mlp.proj_out": "mlp.layers.1", "layer_norm": "norm",
        "shared_embedding.positional_embedding": "pe_layer.positional_encoding_gaussian_matrix",
    }  # fmt: skip
    found = {}
    for name, tensor in state.items():
        if name.startswith("shared_image_embedding"):
            continue
        if name == "prompt_encoder.point_embed.weight":
            for label in range(4):
                key = f"sam_prompt_encoder.point_embeddings.{label}.weight"
                found[key] = tensor[label : label + 1].clone()
            continue
        for ours, theirs in parts.items():
            name = name.replace(ours, theirs)
        name = re.sub(
            r"vision_encoder\.neck\.convs\.(\d)", r"image_encoder.neck.convs.\1.conv", name
        )
        for ours, theirs in heads.items():
            inside = rf"(_mlps\.\d|_head)\.{re.escape(ours)}\.(weight|bias)$"
            if re.search(inside, name):
                name = re.sub(inside, rf"\1.{theirs}.\2", name)
                break
        name = re.sub(r"^(prompt_encoder|mask_decoder)", r"sam_\1", name)
        found[name] = tensor
    return found
