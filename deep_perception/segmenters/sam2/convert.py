"""Meta's SAM2 checkpoints (``sam2.1_hiera_large.pt`` + ``sam2.1_hiera_l.yaml``) for transformers.

Only the weights for single images are converted; those for video (memory, object pointers) are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.bounded import read_file
from deep_perception.untrusted.text import REASON, printable

State = dict[str, torch.Tensor]

# Meta's files have 4 kB, 48 blocks, and 1152 channels.
_YAML_LIMIT, _MAX_BLOCKS, _MAX_WIDTH = 1 << 18, 256, 4096

# Meta's names and the names of transformers, applied in this order to every key.
RENAMES = (
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"\.pe_layer\.positional_encoding_gaussian_matrix$", ".shared_embedding.positional_embedding"),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"\.norm(\d|_final_attn)\.", r".layer_norm\1."),
    (r"\.out_proj\.", ".o_proj."),
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
    (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
    # The heads have three layers, of which transformers keeps the middle one in a list.
    (r"(_mlps\.\d|_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(_mlps\.\d|_head)\.layers\.1\.", r"\1.layers.0."),
    (r"(_mlps\.\d|_head)\.layers\.2\.", r"\1.proj_out."),
)
VIDEO_ONLY = re.compile(
    r"^(memory_|maskmem_|mask_downsample|obj_ptr_|no_obj_|no_mem_pos_enc|image_encoder\.neck\.pos)"
)
POINT_LABELS = 4

# The keys of the trunk in Meta's YAML files, with the values that apply if a file leaves them out.
TRUNK_DEFAULTS: dict[str, Any] = {
    "embed_dim": 96,
    "num_heads": 1,
    "stages": [2, 3, 16, 3],
    "global_att_blocks": [12, 16, 20],
    "window_pos_embed_bkg_spatial_size": [14, 14],
    "window_spec": [8, 4, 14, 7],
}
TRUNKS: dict[str, dict[str, Any]] = {
    "t": {
        "stages": [1, 2, 7, 2],
        "global_att_blocks": [5, 7, 9],
        "window_pos_embed_bkg_spatial_size": [7, 7],
    },
    "s": {
        "stages": [1, 2, 11, 2],
        "global_att_blocks": [7, 10, 13],
        "window_pos_embed_bkg_spatial_size": [7, 7],
    },
    "b+": {"embed_dim": 112, "num_heads": 2},
    "l": {
        "embed_dim": 144,
        "num_heads": 2,
        "stages": [2, 6, 36, 4],
        "global_att_blocks": [23, 33, 43],
        "window_pos_embed_bkg_spatial_size": [7, 7],
        "window_spec": [8, 4, 16, 8],
    },
}


def convert(official: Mapping[str, torch.Tensor]) -> State:
    """Meta's state dict under the names of transformers, without the weights for video."""
    state: State = {}
    for name, tensor in official.items():
        if not VIDEO_ONLY.match(name):
            state[rename(name)] = tensor.float()
    points = [state.pop(f"prompt_encoder.point_embeddings.{i}.weight") for i in range(POINT_LABELS)]
    state["prompt_encoder.point_embed.weight"] = torch.cat(points)
    frequencies = state["prompt_encoder.shared_embedding.positional_embedding"]
    state["shared_image_embedding.positional_embedding"] = frequencies.clone()
    return state


def rename(name: str) -> str:
    """The name in transformers of one of Meta's weights."""
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def find_trunk(config: str, beside: Path, state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The architecture of the trunk: from a YAML file, from its official name, or the weights.

    ``config`` is a path (as given or relative to ``beside``), a name such as
    ``configs/sam2.1/sam2.1_hiera_l.yaml``, or empty. Raises ValueError.
    """
    if not config:
        return _trunk_of(state)
    for path in (Path(config), beside / config):
        if path.is_file():
            return {**TRUNK_DEFAULTS, **_trunk_in(path)}
    named = re.fullmatch(r"sam2(?:\.1)?_hiera_(t|s|b\+|l)(?:\.yaml)?", Path(config).name)
    if named is None:
        raise ValueError(
            f"segmenter.config {config!r} is neither a file nor the name of a configuration of SAM2"
        )
    return {**TRUNK_DEFAULTS, **TRUNKS[named[1]]}


def to_config(trunk: Mapping[str, Any]) -> Any:
    """The transformers ``Sam2Config`` of a trunk; everything else is the same for all sizes."""
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2VisionConfig

    width, heads = trunk["embed_dim"], trunk["num_heads"]
    widths = [width << stage for stage in range(4)]
    backbone = Sam2HieraDetConfig(
        hidden_size=width,
        num_attention_heads=heads,
        blocks_per_stage=list(trunk["stages"]),
        embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[heads << stage for stage in range(4)],
        window_size_per_stage=list(trunk["window_spec"]),
        global_attention_blocks=list(trunk["global_att_blocks"]),
        window_positional_embedding_background_size=list(
            trunk["window_pos_embed_bkg_spatial_size"]
        ),
    )
    vision = Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=widths[::-1])
    return Sam2Config(vision_config=vision)


def _trunk_in(path: Path) -> dict[str, Any]:
    import yaml

    try:
        text = read_file(path, _YAML_LIMIT).decode()
        events = yaml.parse(text, Loader=yaml.SafeLoader)
        if any(isinstance(event, yaml.AliasEvent) for event in events):
            raise UntrustedError("it has aliases, which can stand for any number of values")
        trunk = yaml.safe_load(text)["model"]["image_encoder"]["trunk"]
        found = {name: value for name, value in trunk.items() if name in TRUNK_DEFAULTS}
    except (
        yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError, RecursionError,
    ) as error:  # fmt: skip
        reason = printable(error, REASON)
        raise ValueError(f"{path} is not a configuration of SAM2 ({reason})") from None
    for name, value in found.items():
        numbers = value if isinstance(value, list) else [value]
        limit = _MAX_BLOCKS if name == "stages" else _MAX_WIDTH
        if len(numbers) > _MAX_BLOCKS or not all(
            type(number) is int and 0 <= number <= limit for number in numbers
        ):
            raise ValueError(f"{path}: {name} is {printable(value)}; at most {limit}")
    return found


def _trunk_of(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The trunk with the width and number of blocks of weights under the names of transformers."""
    blocks = {match[1] for name in state if (match := re.search(r"\.blocks\.(\d+)\.", name))}
    width = state["vision_encoder.backbone.patch_embed.projection.weight"].shape[0]
    for trunk in TRUNKS.values():
        full = {**TRUNK_DEFAULTS, **trunk}
        if (full["embed_dim"], sum(full["stages"])) == (width, len(blocks)):
            return full
    raise ValueError(
        f"a trunk with {width} channels and {len(blocks)} blocks is not one of SAM2's sizes; set "
        "segmenter.config to its YAML file"
    )
