"""Masks, compared with pycocotools and with arrays that are scaled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deep_perception import masks
from deep_perception.masks import Box, Rle, Size

coco = pytest.importorskip("pycocotools.mask", reason="needs pycocotools (pip)")

MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24))
GROWTH = st.tuples(st.integers(0, 60), st.integers(0, 60))


def source_size(mask, growth):
    """A size of the source image at least as large as the mask."""
    return Size(mask.shape[1] + growth[0], mask.shape[0] + growth[1])


@given(MASKS)
def test_decode_gives_the_encoded_mask(mask):
    assert np.array_equal(masks.decode(masks.encode(mask)), mask)


@given(MASKS, GROWTH)
def test_rle_at_source_size_is_byte_equal_to_pycocotools_of_the_scaled_mask(mask, growth):
    source = source_size(mask, growth)
    scaled = masks.scale_mask(mask, source)
    reference = coco.encode(np.asfortranarray(scaled.astype(np.uint8)))
    ours = masks.encode(mask, source)
    assert ours.counts.encode() == reference["counts"]
    assert ours.area == int(coco.area(reference))
    assert np.array_equal(coco.decode(masks.to_coco(ours)).astype(bool), scaled)


@given(MASKS.filter(lambda mask: mask.any()), GROWTH)
def test_box_is_the_tight_box_of_the_scaled_mask(mask, growth):
    source = source_size(mask, growth)
    box = masks.scale_box(masks.box_of(mask), masks.size_of(mask), source)
    assert box == masks.box_of(masks.scale_mask(mask, source))
    x, y, width, height = coco.toBbox(masks.to_coco(masks.encode(mask, source)))
    assert (box.x1, box.y1, box.width, box.height) == (x, y, width, height)


@given(MASKS, GROWTH, st.data())
def test_a_window_is_a_cut_of_the_whole_scaled_mask(mask, growth, data):
    source = source_size(mask, growth)
    x1, x2 = sorted(data.draw(st.tuples(*[st.integers(0, source.width)] * 2)))
    y1, y2 = sorted(data.draw(st.tuples(*[st.integers(0, source.height)] * 2)))
    window = masks.scale_mask(mask, source, Box(x1, y1, x2, y2))
    assert np.array_equal(window, masks.scale_mask(mask, source)[y1:y2, x1:x2])


@given(MASKS, st.data())
def test_a_window_of_an_rle_is_a_cut_of_the_whole_mask(mask, data):
    x1, x2 = sorted(data.draw(st.tuples(*[st.integers(0, mask.shape[1])] * 2)))
    y1, y2 = sorted(data.draw(st.tuples(*[st.integers(0, mask.shape[0])] * 2)))
    window = masks.decode(masks.encode(mask), Box(x1, y1, x2, y2))
    assert np.array_equal(window, mask[y1:y2, x1:x2])


@given(MASKS.filter(np.any))
def test_a_cut_keeps_all_pixels_of_the_mask(mask):
    inside, box, size = masks.cut(mask)
    assert inside.sum() == mask.sum()
    assert (box, size) == (masks.box_of(mask), masks.size_of(mask))


@given(st.text(max_size=40) | st.text(st.characters(min_codepoint=48, max_codepoint=111)))
def test_any_text_is_decoded_or_raises_a_value_error(text):
    try:
        mask = masks.decode(Rle(Size(6, 4), text))
    except ValueError:
        return
    assert mask.shape == (4, 6)


@given(st.integers(1, 500), st.integers(0, 3000), st.data())
def test_a_scaled_position_lies_in_its_working_pixel(working, growth, data):
    position = data.draw(st.integers(0, working - 1))
    source = working + growth
    scaled = masks.to_source(position, working, source)
    assert masks.source_index(working, source)[scaled] == position


def test_an_empty_mask_has_an_rle_but_no_box():
    empty = np.zeros((3, 4), bool)
    assert masks.encode(empty).area == 0
    with pytest.raises(ValueError, match="empty mask"):
        masks.box_of(empty)


def test_runs_that_do_not_fill_the_image_are_refused():
    rle = masks.encode(np.eye(4, dtype=bool))
    with pytest.raises(ValueError, match="16 pixels, expected 5x4"):
        masks.decode(Rle(Size(5, 4), rle.counts))


MASK = np.eye(4, 6, dtype=bool)
COCO = masks.to_coco(masks.encode(MASK))


@pytest.mark.parametrize(
    "counts",
    [
        COCO["counts"],
        COCO["counts"].encode(),
        masks.encode(MASK).runs.tolist(),
        masks.encode(MASK).runs,
    ],
)
def test_what_pycocotools_takes_is_decoded(counts):
    segmentation = {"size": [4, 6], "counts": counts}
    assert np.array_equal(masks.decode(segmentation), MASK)
    assert np.array_equal(masks.decode(segmentation, Box(1, 0, 5, 3)), MASK[:3, 1:5])
    assert masks.from_coco(segmentation) == masks.encode(MASK)


@pytest.mark.parametrize(
    "change",
    [
        {"counts": COCO["counts"][:-1]}, {"counts": COCO["counts"] + "\n"}, {"counts": ""},
        {"counts": "ä"}, {"counts": b"\xff"}, {"counts": None}, {"counts": [1.5, 2]},
        {"counts": [10, -2, 16]}, {"size": [4, 5]}, {"size": [4]}, {"size": None},
        {"size": [-4, -6]}, {"size": [4.5, 6]}, {"counts": [1 << 80]},
    ],
)  # fmt: skip
def test_a_dict_that_is_no_mask_is_refused(change):
    with pytest.raises(ValueError, match=r"(?i)mask|counts|rle"):
        masks.decode({**COCO, **change})


@pytest.mark.parametrize("missing", ["size", "counts"])
def test_a_dict_without_a_key_is_refused(missing):
    with pytest.raises(ValueError, match=f"KeyError: '{missing}'"):
        masks.decode({key: value for key, value in COCO.items() if key != missing})


def test_a_mask_of_200_megapixels_encodes_without_being_scaled():
    mask = np.zeros((320, 640), bool)
    mask[100:200, 100:300] = True
    rle = masks.encode(mask, Size(20_000, 10_000))
    assert rle.area == 100 * 200 * (10_000 / 320) * (20_000 / 640)


@pytest.mark.parametrize(
    ("size", "counts", "said"),
    [
        ([10**9, 10**9], [10**18], "too large"),
        ([40_000, 40_000], "0", "too large"),
        ([2, 10**400], "4", "too large"),
        ([10, 10], "1" * (1 << 25), "33554432 characters"),
        ([10, 10], [-5, 105], "add up to"),
        ([10, 10], [2**62, 2**62], "add up to|characters"),
        ([10, 10], [0] * 100_000, "add up to 0 pixels"),
    ],
)
def test_a_mask_of_others_takes_no_more_memory_than_an_image(size, counts, said):
    with pytest.raises(ValueError, match=said):
        masks.decode({"size": size, "counts": counts})
