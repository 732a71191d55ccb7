"""SAM2's mask decoder with everything taken out that does not depend on the point.

The weights are those of transformers' ``Sam2MaskDecoder`` (and of Meta's ``MaskDecoder``), the
results differ by float rounding only (a test compares). What is saved, for a picture of N = 64 x 64
features of C = 256 channels and the 8 tokens of a point:

- Once a picture (``prepare``): keys, values and queries of the first layer, which sees the picture
  as the encoder left it, and all sums with constants (no-mask embedding, biases, skip connections).
- Attention between 8 tokens and N features projects the tokens instead of the features:
  ``(x Wq)(t Wk)' = x (Wq (t Wk)')`` turns an N x 256 x 128 product and N x 128 x 8 a head into one
  of N x 256 x 64. A key's bias adds the same to all scores of a query, so softmax drops it.
- Transposed convolutions of stride 2 are matrix products with the pixels side by side; only the
  finished mask is put into image order.
- The mask's 32 x 65536 product is made for the masks that are asked for.
- The tokens that are not read any more (first mask, point) skip the last attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

# Order of the tokens: is there an object, how good are the masks, four masks, then the prompt.
OBJECT, QUALITY, FIRST_MASK, MASKS = 0, 1, 3, 3
POSITIVE = 1


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture as the decoder needs it: float32, N = grid * grid features in row-major order."""

    grid: int
    keys: Tensor  # (1, N, C) with the bias of what the first layer writes into it
    position: Tensor  # (1, N, C)
    first_keys: Tensor  # (heads, C', N) of the first layer's reading attention
    first_values: Tensor  # (heads, N, C')
    first_queries: Tensor  # (1, C / 2, N) of the first layer's writing attention
    middle: Tensor  # (1, N, 4 * C / 4) skip connection at twice the grid
    fine: Tensor  # (1, 4 * N, 4 * C / 8) skip connection at four times the grid


@dataclass(frozen=True, eq=False)
class Decoded:
    """For P points: the M masks' logits at four times the grid, qualities, and is-there-an-object.

    ``logits`` (P, M, 4 grid, 4 grid), ``quality`` (P, M) in 0..1, ``present`` (P,) bool.
    """

    logits: Tensor
    quality: Tensor
    present: Tensor


class Decoder:
    """The trimmed decoder of one ``Sam2Model``, whose weights it shares."""

    def __init__(self, model: Any) -> None:
        decoder, prompt = model.mask_decoder, model.prompt_encoder
        self._decoder = decoder
        self._first, self._second = decoder.transformer.layers
        self._final = decoder.transformer.final_attn_token_to_image
        self._final_norm = decoder.transformer.layer_norm_final_attn
        self._point_frequencies = prompt.shared_embedding
        self._grid_frequencies = model.shared_image_embedding
        self._positive = prompt.point_embed.weight[POSITIVE]
        self._padding = prompt.not_a_point_embed.weight
        self._no_mask = prompt.no_mask_embed.weight
        self._tokens = torch.cat(
            [
                decoder.obj_score_token.weight,
                decoder.iou_token.weight,
                decoder.mask_tokens.weight,
            ]
        )
        self._upscale = [
            _as_matrix(conv) for conv in (decoder.upscale_conv1, decoder.upscale_conv2)
        ]
        self._hyper = decoder.output_hypernetworks_mlps[1:]

    def prepare(self, coarse: Tensor, middle: Tensor, fine: Tensor) -> Prepared:
        """From the encoder's features, channels last and without the batch.

        ``coarse`` (g, g, C) with the no-memory embedding added, ``middle`` (2g, 2g, C/4) and
        ``fine`` (4g, 4g, C/8) after the decoder's own 1x1 convolutions.
        """
        grid, channels = coarse.shape[0], coarse.shape[-1]
        keys = (coarse + self._no_mask).reshape(1, grid * grid, channels)
        position = self._positions(grid)
        placed = keys + position
        reading = self._first.cross_attn_token_to_image
        writing = self._first.cross_attn_image_to_token
        heads = reading.num_attention_heads
        decoder = self._decoder
        return Prepared(
            grid=grid,
            keys=keys + writing.o_proj.bias,
            position=position,
            first_keys=_by_head(reading.k_proj(placed)[0], heads).transpose(1, 2).contiguous(),
            first_values=_by_head(reading.v_proj(keys)[0], heads).contiguous(),
            first_queries=writing.q_proj(placed).transpose(1, 2).contiguous(),
            middle=_side_by_side(middle + decoder.upscale_conv1.bias, 1),
            fine=_side_by_side(fine + decoder.upscale_conv2.bias, 2),
        )

    def decode(self, picture: Prepared, points: Tensor, *, all_masks: bool) -> Decoded:
        """Masks for P positive points (P, 2), x and y in 0..1 of the picture, float32.

        Only the mask of the best predicted quality, or all three in the model's order.
        """
        tokens, features = self._transform(picture, points)
        read = self._final_norm(tokens)
        quality = self._decoder.iou_prediction_head(read[:, QUALITY])[:, -MASKS:]
        present = self._decoder.pred_obj_score_head(read[:, OBJECT])[:, 0] > 0
        hyper = torch.stack(
            [network(read[:, 2 + number]) for number, network in enumerate(self._hyper)], dim=1
        )
        if not all_masks:
            best = quality.argmax(dim=1, keepdim=True)
            quality = quality.gather(1, best)
            hyper = hyper.gather(1, best[..., None].expand(-1, -1, hyper.shape[-1]))
        logits = self._paint(picture, features, hyper)
        return Decoded(logits, quality, present)

    def _positions(self, grid: int) -> Tensor:
        """(1, N, C): sines of the features' places."""
        frequencies = self._grid_frequencies.positional_embedding
        centre = torch.ones(grid, device=frequencies.device).cumsum(0).sub(0.5) / grid
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        places: Tensor = self._grid_frequencies(torch.stack([x, y], dim=-1))
        return places.reshape(1, grid * grid, -1)

    def _prompt_tokens(self, points: Tensor) -> Tensor:
        """(P, 8, C): the model's own tokens, the point's, and the padding SAM2 was trained with."""
        count = len(points)
        point = self._point_frequencies(points[None, None])[0, 0] + self._positive
        own = self._tokens.expand(count, -1, -1)
        return torch.cat([own, point[:, None], self._padding.expand(count, 1, -1)], dim=1)

    def _transform(self, picture: Prepared, points: Tensor) -> tuple[Tensor, Tensor]:
        """The two-way transformer: tokens (P, 5, C) before their last norm, features (P, N, C)."""
        first, second = self._first, self._second
        prompt = self._prompt_tokens(points)
        tokens = first.layer_norm1(_among_tokens(first.self_attn, prompt, prompt))
        tokens = tokens + self._read_first(picture, tokens + prompt)
        tokens = _think(first, tokens)
        writing = first.cross_attn_image_to_token
        scores = _blocks(writing, tokens + prompt) @ picture.first_queries
        features = first.layer_norm4(_write(writing, scores, tokens, picture.keys))

        placed = features + picture.position
        mixed = _among_tokens(second.self_attn, tokens + prompt, tokens)
        tokens = second.layer_norm1(tokens + mixed)
        read = _read(second.cross_attn_token_to_image, tokens + prompt, placed, features)
        tokens = _think(second, tokens + read)
        writing = second.cross_attn_image_to_token
        blocks = _blocks(writing, tokens + prompt)
        scores = (blocks @ writing.q_proj.weight) @ placed.transpose(1, 2)
        scores = scores + (blocks @ writing.q_proj.bias)[..., None]
        features = _write(writing, scores, tokens, features) + writing.o_proj.bias
        features = second.layer_norm4(features)

        placed = features + picture.position
        tokens, prompt = _still_read(tokens), _still_read(prompt)
        return tokens + _read(self._final, tokens + prompt, placed, features), features

    def _read_first(self, picture: Prepared, queries: Tensor) -> Tensor:
        """The tokens (P, T, C) read the picture through the prepared keys and values."""
        attention = self._first.cross_attn_token_to_image
        count, tokens, _ = queries.shape
        heads = attention.num_attention_heads
        projected = attention.q_proj(queries.reshape(count * tokens, -1)) * attention.scaling
        weights = (_by_head(projected, heads) @ picture.first_keys).softmax(dim=-1)
        read = (weights @ picture.first_values).transpose(0, 1).reshape(count, tokens, -1)
        answer: Tensor = attention.o_proj(read)
        return answer

    def _paint(self, picture: Prepared, features: Tensor, hyper: Tensor) -> Tensor:
        """Logits (P, M, 4g, 4g) of features (P, N, C) and what the masks look for (P, M, C/8)."""
        count, grid = len(features), picture.grid
        half, quarter = self._upscale
        norm = self._decoder.upscale_layer_norm
        middle = torch.baddbmm(picture.middle, features, half.expand(count, -1, -1))
        middle = middle.view(count, 4 * grid * grid, -1)
        middle = gelu(layer_norm(middle, norm.normalized_shape, norm.weight, norm.bias, norm.eps))
        fine = torch.baddbmm(picture.fine, middle, quarter.expand(count, -1, -1))
        fine = gelu(fine).view(count, 16 * grid * grid, -1)
        logits = hyper @ fine.transpose(1, 2)
        ordered = logits.view(count, -1, grid, grid, 2, 2, 2, 2).permute(0, 1, 2, 4, 6, 3, 5, 7)
        return ordered.reshape(count, -1, 4 * grid, 4 * grid)


def _still_read(tokens: Tensor) -> Tensor:
    """Of the tokens (P, 8, C) those of object, quality and the last three masks."""
    return torch.cat([tokens[:, :2], tokens[:, FIRST_MASK : FIRST_MASK + MASKS]], dim=1)


def _by_head(tokens: Tensor, heads: int) -> Tensor:
    """(K, heads * D) to (heads, K, D)."""
    return tokens.view(len(tokens), heads, -1).transpose(0, 1)


def _among_tokens(attention: Any, queries: Tensor, values: Tensor) -> Tensor:
    """Self-attention of the tokens (P, T, C), with queries for keys."""
    answer: Tensor = attention(query=queries[None], key=queries[None], value=values[None])[0][0]
    return answer


def _think(layer: Any, tokens: Tensor) -> Tensor:
    """Between reading and writing: norm, MLP, norm of the tokens (P, T, C)."""
    tokens = layer.layer_norm2(tokens)
    answer: Tensor = layer.layer_norm3(tokens + layer.mlp(tokens))
    return answer


def _read(attention: Any, queries: Tensor, placed: Tensor, features: Tensor) -> Tensor:
    """Tokens (P, T, C) attend to features (P, N, C); ``placed`` = features + position."""
    count, tokens, channels = queries.shape
    heads, size = attention.num_attention_heads, attention.head_dim
    asked = attention.q_proj(queries).view(count, tokens, heads, size) * attention.scaling
    of_keys = attention.k_proj.weight.view(heads, size, channels)
    asked = torch.einsum("pthd,hdc->phtc", asked, of_keys).reshape(count, heads * tokens, channels)
    weights = (asked @ placed.transpose(1, 2)).softmax(dim=-1)
    read = (weights @ features).view(count, heads, tokens, channels)
    of_values = attention.v_proj.weight.view(heads, size, channels)
    read = torch.einsum("phtc,hdc->pthd", read, of_values).reshape(count, tokens, heads * size)
    answer: Tensor = attention.o_proj(read + attention.v_proj.bias)
    return answer


def _blocks(attention: Any, keys: Tensor) -> Tensor:
    """Keys of the tokens (P, T, C) to (P, heads * T, C / 2), each zero but for its own head."""
    count, tokens, _ = keys.shape
    heads, size = attention.num_attention_heads, attention.head_dim
    offered = (attention.k_proj(keys) * attention.scaling).view(count, tokens, heads, size)
    same = torch.eye(heads, device=keys.device, dtype=keys.dtype)
    blocks = torch.einsum("pthd,hg->pgthd", offered, same)
    return blocks.reshape(count, heads * tokens, heads * size)


def _write(attention: Any, scores: Tensor, values: Tensor, features: Tensor) -> Tensor:
    """Features (P, N, C) attend to tokens (P, T, C) by scores (P, heads * T, N).

    Returns the features with the answer added, all but its bias.
    """
    count, tokens, channels = values.shape
    heads, size = attention.num_attention_heads, attention.head_dim
    # Softmax over the tokens with the features last: 20 times faster on a CPU than tokens last.
    weights = scores.view(count, heads, tokens, -1).softmax(dim=2).view(count, heads * tokens, -1)
    told = attention.v_proj(values).view(count, tokens, heads, size)
    of_output = attention.o_proj.weight.view(channels, heads, size)
    told = torch.einsum("pthd,chd->phtc", told, of_output).reshape(count, heads * tokens, channels)
    return torch.baddbmm(features.expand(count, -1, -1), weights.transpose(1, 2), told)


def _as_matrix(conv: Any) -> Tensor:
    """A transposed 2x2 convolution of stride 2 as (inputs, 4 * outputs), pixels side by side."""
    inputs = conv.weight.shape[0]
    return conv.weight.permute(0, 2, 3, 1).reshape(inputs, -1).contiguous()


def _side_by_side(image: Tensor, steps: int) -> Tensor:
    """(Y, X, D) to (1, Y X / 4, 4 D), in the order that ``steps`` doublings of a grid make."""
    height, width, channels = image.shape
    grid = [height >> steps, *[2] * steps, width >> steps, *[2] * steps, channels]
    # y, i1, i2, x, j1, j2, c -> y, x, i1, j1, i2, j2, c
    steps_y = range(1, steps + 1)
    steps_x = range(steps + 2, 2 * steps + 2)
    pairs = [axis for pair in zip(steps_y, steps_x, strict=True) for axis in pair]
    ordered = image.reshape(grid).permute(0, steps + 1, *pairs, 2 * steps + 2)
    return ordered.reshape(1, height * width // 4, 4 * channels)
