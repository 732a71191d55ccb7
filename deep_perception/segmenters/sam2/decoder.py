"""SAM2's mask decoder, with everything that does not depend on the point computed once per image.

The weights are those of transformers' ``Sam2MaskDecoder`` (and of Meta's ``MaskDecoder``); a test
checks that the results differ by float rounding only. For an image of N = 64 x 64 features of
C = 256 channels and the 8 tokens of a point, these computations are saved:

- ``prepare`` computes once per image: the keys, values and queries of the first layer, which
  attends to the image as the encoder left it, and all sums with constants (no-mask embedding,
  biases, skip connections).
- Attention between 8 tokens and N features projects the tokens instead of the features:
  ``(x Wq)(t Wk)' = x (Wq (t Wk)')`` replaces, per head, products of N x 256 x 128 and N x 128 x 8
  by one of N x 256 x 64. The bias of the keys adds the same to all scores of a query, so softmax
  cancels it.
- Transposed convolutions of stride 2 are matrix products with the output pixels side by side; only
  the finished mask is brought into image order.
- The product of 32 x 65536 that makes a mask is computed for the requested masks only.
- The tokens whose output is not used (first mask, point, padding) skip the last attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

# The order of the tokens is object score, mask quality, four masks, point, padding. The first mask
# is for unambiguous prompts of several points and is not used.
OBJECT, QUALITY, FIRST_MASK, MASKS = 0, 1, 3, 3
POSITIVE = 1


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image as the decoder needs it: float32, N = grid * grid features in row-major order."""

    grid: int
    features: Tensor  # (1, N, C), with the output bias of the first image-to-token attention
    position: Tensor  # (1, N, C), position encoding
    first_keys: Tensor  # (heads, C', N), of the first token-to-image attention
    first_values: Tensor  # (heads, N, C')
    first_queries: Tensor  # (1, C / 2, N), of the first image-to-token attention
    middle: Tensor  # (1, N, 4 * C / 4), skip connection at twice the grid
    fine: Tensor  # (1, 4 * N, 4 * C / 8), skip connection at four times the grid


@dataclass(frozen=True, eq=False)
class Decoded:
    """M masks of each of P points.

    ``logits`` (P, M, 4 grid, 4 grid), ``quality`` (P, M): predicted IoU in 0..1, ``present`` (P,)
    bool: whether there is an object at the point.
    """

    logits: Tensor
    quality: Tensor
    present: Tensor


class Decoder:
    """The optimised decoder of one ``Sam2Model``, whose weights it shares."""

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
        self._upscale_matrices = [
            _transposed_conv_matrix(conv) for conv in (decoder.upscale_conv1, decoder.upscale_conv2)
        ]
        self._hypernetworks = decoder.output_hypernetworks_mlps[1:]

    def prepare(self, coarse: Tensor, middle: Tensor, fine: Tensor) -> Prepared:
        """Compute what all points of an image share.

        The encoder's features come channels last and without the batch: ``coarse`` (g, g, C) with
        the no-memory embedding added, ``middle`` (2g, 2g, C/4) and ``fine`` (4g, 4g, C/8) after the
        decoder's own 1x1 convolutions.
        """
        grid, channels = coarse.shape[0], coarse.shape[-1]
        features = (coarse + self._no_mask).reshape(1, grid * grid, channels)
        position = self._position_encoding(grid)
        positioned = features + position
        to_image = self._first.cross_attn_token_to_image
        to_token = self._first.cross_attn_image_to_token
        heads = to_image.num_attention_heads
        decoder = self._decoder
        return Prepared(
            grid=grid,
            features=features + to_token.o_proj.bias,
            position=position,
            first_keys=_by_head(to_image.k_proj(positioned)[0], heads).transpose(1, 2).contiguous(),
            first_values=_by_head(to_image.v_proj(features)[0], heads).contiguous(),
            first_queries=to_token.q_proj(positioned).transpose(1, 2).contiguous(),
            middle=_subpixels_to_channels(middle + decoder.upscale_conv1.bias, 1),
            fine=_subpixels_to_channels(fine + decoder.upscale_conv2.bias, 2),
        )

    def decode(self, image: Prepared, points: Tensor, *, all_masks: bool) -> Decoded:
        """Masks for P positive points (P, 2), x and y in 0..1 of the image, float32.

        Only the mask of the best predicted quality, or all three in the model's order.
        """
        tokens, features = self._two_way_transformer(image, points)
        output = self._final_norm(tokens)
        quality = self._decoder.iou_prediction_head(output[:, QUALITY])[:, -MASKS:]
        present = self._decoder.pred_obj_score_head(output[:, OBJECT])[:, 0] > 0
        mask_weights = torch.stack(
            [network(output[:, 2 + mask]) for mask, network in enumerate(self._hypernetworks)],
            dim=1,
        )
        if not all_masks:
            best = quality.argmax(dim=1, keepdim=True)
            quality = quality.gather(1, best)
            index = best[..., None].expand(-1, -1, mask_weights.shape[-1])
            mask_weights = mask_weights.gather(1, index)
        logits = self._mask_logits(image, features, mask_weights)
        return Decoded(logits, quality, present)

    def _position_encoding(self, grid: int) -> Tensor:
        """(1, N, C): the sinusoidal position encoding of the features."""
        frequencies = self._grid_frequencies.positional_embedding
        centre = torch.ones(grid, device=frequencies.device).cumsum(0).sub(0.5) / grid
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        encoding: Tensor = self._grid_frequencies(torch.stack([x, y], dim=-1))
        return encoding.reshape(1, grid * grid, -1)

    def _prompt_tokens(self, points: Tensor) -> Tensor:
        """(P, 8, C): the model's own tokens, the point, and the padding used in training."""
        count = len(points)
        point = self._point_frequencies(points[None, None])[0, 0] + self._positive
        own = self._tokens.expand(count, -1, -1)
        return torch.cat([own, point[:, None], self._padding.expand(count, 1, -1)], dim=1)

    def _two_way_transformer(self, image: Prepared, points: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (P, 5, C) before their last norm, and features (P, N, C)."""
        first, second = self._first, self._second
        prompt = self._prompt_tokens(points)
        tokens = first.layer_norm1(_self_attention(first.self_attn, prompt, prompt))
        tokens = tokens + self._first_token_to_image_attention(image, tokens + prompt)
        tokens = _mlp(first, tokens)
        to_token = first.cross_attn_image_to_token
        scores = _key_projection(to_token, tokens + prompt) @ image.first_queries
        features = _image_to_token_attention(to_token, scores, tokens, image.features)
        features = first.layer_norm4(features)

        positioned = features + image.position
        attended = _self_attention(second.self_attn, tokens + prompt, tokens)
        tokens = second.layer_norm1(tokens + attended)
        to_image = second.cross_attn_token_to_image
        attended = _token_to_image_attention(to_image, tokens + prompt, positioned, features)
        tokens = _mlp(second, tokens + attended)
        to_token = second.cross_attn_image_to_token
        keys = _key_projection(to_token, tokens + prompt)
        scores = (keys @ to_token.q_proj.weight) @ positioned.transpose(1, 2)
        scores = scores + (keys @ to_token.q_proj.bias)[..., None]
        features = _image_to_token_attention(to_token, scores, tokens, features)
        features = second.layer_norm4(features + to_token.o_proj.bias)

        positioned = features + image.position
        tokens, prompt = _output_tokens(tokens), _output_tokens(prompt)
        attended = _token_to_image_attention(self._final, tokens + prompt, positioned, features)
        return tokens + attended, features

    def _first_token_to_image_attention(self, image: Prepared, queries: Tensor) -> Tensor:
        """Tokens (P, T, C) attend to the image through its prepared keys and values."""
        attention = self._first.cross_attn_token_to_image
        count, tokens, _ = queries.shape
        heads = attention.num_attention_heads
        projected = attention.q_proj(queries.reshape(count * tokens, -1)) * attention.scaling
        weights = (_by_head(projected, heads) @ image.first_keys).softmax(dim=-1)
        attended = (weights @ image.first_values).transpose(0, 1).reshape(count, tokens, -1)
        output: Tensor = attention.o_proj(attended)
        return output

    def _mask_logits(self, image: Prepared, features: Tensor, mask_weights: Tensor) -> Tensor:
        """Upscale features (P, N, C) and weigh them (P, M, C/8) into logits (P, M, 4g, 4g)."""
        count, grid = len(features), image.grid
        half, quarter = self._upscale_matrices
        norm = self._decoder.upscale_layer_norm
        middle = torch.baddbmm(image.middle, features, half.expand(count, -1, -1))
        middle = middle.view(count, 4 * grid * grid, -1)
        middle = gelu(layer_norm(middle, norm.normalized_shape, norm.weight, norm.bias, norm.eps))
        fine = torch.baddbmm(image.fine, middle, quarter.expand(count, -1, -1))
        fine = gelu(fine).view(count, 16 * grid * grid, -1)
        logits = mask_weights @ fine.transpose(1, 2)
        ordered = logits.view(count, -1, grid, grid, 2, 2, 2, 2).permute(0, 1, 2, 4, 6, 3, 5, 7)
        return ordered.reshape(count, -1, 4 * grid, 4 * grid)


def _output_tokens(tokens: Tensor) -> Tensor:
    """The tokens (P, 8, C) whose output is used: object score, quality and the last three masks."""
    return torch.cat([tokens[:, :2], tokens[:, FIRST_MASK : FIRST_MASK + MASKS]], dim=1)


def _by_head(tokens: Tensor, heads: int) -> Tensor:
    """Split channels by head: (K, heads * D) to (heads, K, D)."""
    return tokens.view(len(tokens), heads, -1).transpose(0, 1)


def _self_attention(attention: Any, queries: Tensor, values: Tensor) -> Tensor:
    """Self-attention of the tokens (P, T, C); the queries are the keys, too."""
    output: Tensor = attention(query=queries[None], key=queries[None], value=values[None])[0][0]
    return output


def _mlp(layer: Any, tokens: Tensor) -> Tensor:
    """The MLP of a layer with the norms before and after it, for tokens (P, T, C)."""
    tokens = layer.layer_norm2(tokens)
    output: Tensor = layer.layer_norm3(tokens + layer.mlp(tokens))
    return output


def _token_to_image_attention(
    attention: Any, queries: Tensor, positioned: Tensor, features: Tensor
) -> Tensor:
    """Tokens (P, T, C) attend to features (P, N, C); ``positioned`` = features + position."""
    count, tokens, channels = queries.shape
    heads, size = attention.num_attention_heads, attention.head_dim
    projected = attention.q_proj(queries).view(count, tokens, heads, size) * attention.scaling
    key_weight = attention.k_proj.weight.view(heads, size, channels)
    projected = torch.einsum("pthd,hdc->phtc", projected, key_weight)
    projected = projected.reshape(count, heads * tokens, channels)
    weights = (projected @ positioned.transpose(1, 2)).softmax(dim=-1)
    attended = (weights @ features).view(count, heads, tokens, channels)
    value_weight = attention.v_proj.weight.view(heads, size, channels)
    attended = torch.einsum("phtc,hdc->pthd", attended, value_weight)
    attended = attended.reshape(count, tokens, heads * size)
    output: Tensor = attention.o_proj(attended + attention.v_proj.bias)
    return output


def _key_projection(attention: Any, tokens: Tensor) -> Tensor:
    """The scaled keys of tokens (P, T, C) as (P, heads * T, C / 2), zero outside their own head."""
    count, length, _ = tokens.shape
    heads, size = attention.num_attention_heads, attention.head_dim
    keys = (attention.k_proj(tokens) * attention.scaling).view(count, length, heads, size)
    own_head = torch.eye(heads, device=tokens.device, dtype=tokens.dtype)
    blocks = torch.einsum("pthd,hg->pgthd", keys, own_head)
    return blocks.reshape(count, heads * length, heads * size)


def _image_to_token_attention(
    attention: Any, scores: Tensor, tokens: Tensor, features: Tensor
) -> Tensor:
    """Features (P, N, C) attend to tokens (P, T, C) with scores (P, heads * T, N).

    Returns the sum of the features and the output of the attention, without the output bias.
    """
    count, length, channels = tokens.shape
    heads, size = attention.num_attention_heads, attention.head_dim
    # Softmax over the tokens is 20 times faster on a CPU if the features are the last axis.
    weights = scores.view(count, heads, length, -1).softmax(dim=2).view(count, heads * length, -1)
    values = attention.v_proj(tokens).view(count, length, heads, size)
    output_weight = attention.o_proj.weight.view(channels, heads, size)
    output = torch.einsum("pthd,chd->phtc", values, output_weight)
    output = output.reshape(count, heads * length, channels)
    return torch.baddbmm(features.expand(count, -1, -1), weights.transpose(1, 2), output)


def _transposed_conv_matrix(conv: Any) -> Tensor:
    """A transposed 2x2 convolution of stride 2 as (inputs, 4 * outputs), pixels side by side."""
    inputs = conv.weight.shape[0]
    return conv.weight.permute(0, 2, 3, 1).reshape(inputs, -1).contiguous()


def _subpixels_to_channels(image: Tensor, steps: int) -> Tensor:
    """(Y, X, D) to (1, Y X / 4, 4 D), in the order that ``steps`` upscalings of a grid produce."""
    height, width, channels = image.shape
    grid = [height >> steps, *[2] * steps, width >> steps, *[2] * steps, channels]
    # The axes y, i1, i2, x, j1, j2, c become y, x, i1, j1, i2, j2, c.
    steps_y = range(1, steps + 1)
    steps_x = range(steps + 2, 2 * steps + 2)
    pairs = [axis for pair in zip(steps_y, steps_x, strict=True) for axis in pair]
    ordered = image.reshape(grid).permute(0, steps + 1, *pairs, 2 * steps + 2)
    return ordered.reshape(1, height * width // 4, 4 * channels)
