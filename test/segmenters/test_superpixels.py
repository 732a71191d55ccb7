"""The embedded segmenter: properties for any image, and results on photographs."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deep_perception.segmenters.superpixels import Superpixels
from deep_perception.segmenters.superpixels.merge_tree import best_cut, build_tree, find_borders

DATA = Path(__file__).parents[1] / "data"
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
KINDS = ("flat", "noise", "ramp", "blocks", "dots")


def random_image(kind, width, height, seed):
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (2, 3), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    if kind == "flat":
        return np.full((height, width, 3), colours[0], np.uint8)
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == "ramp":
        share = (x / width)[..., None]
        return (colours[0] * (1 - share) + colours[1] * share).astype(np.uint8)
    if kind == "blocks":
        return colours[(x // 20 + y // 20) % 2]
    return colours[(rng.random((height, width)) < 0.05).astype(int)]


def grid(width, height, columns=9, rows=7):
    points = np.array(np.meshgrid(np.arange(columns), np.arange(rows))).reshape(2, -1).T
    return points * (width, height) // (columns, rows)


def components(mask):
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] - 1


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def swept(image, points):
    """The regions of a simple sweep, each of at least 50 px, and the covered share."""
    segmenter = Superpixels()
    masks, _ = segmenter.masks(segmenter.embed(image), points)
    covered = np.zeros(image.shape[:2], bool)
    regions = []
    for (x, y), mask in zip(points, masks, strict=True):
        if not covered[y, x] and mask.sum() >= 50:
            covered |= mask
            regions.append(mask)
    return regions, covered.mean()


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(KINDS),
    width=st.integers(1, 150),
    height=st.integers(1, 150),
    seed=st.integers(0, 2**16),
)
def test_every_mask_is_connected_and_contains_its_point(kind, width, height, seed):
    image = random_image(kind, width, height, seed)
    before = image.copy()
    points = grid(width, height)
    segmenter = Superpixels()
    masks, scores = segmenter.masks(segmenter.embed(image), points)
    assert masks.shape == (len(points), height, width) and masks.dtype == np.bool_
    assert scores.shape == (len(points),) and scores.dtype == np.float32
    assert np.all((scores >= 0) & (scores <= 1))
    for (x, y), mask in zip(points, masks, strict=True):
        assert mask[y, x]
        assert components(mask) == 1
    assert np.array_equal(image, before)


@settings(deadline=None, max_examples=20)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**16), data=st.data())
def test_a_mask_depends_only_on_its_point(kind, seed, data):
    image = random_image(kind, 90, 70, seed)
    points = grid(90, 70)
    order = data.draw(st.permutations(range(len(points))))[: data.draw(st.integers(1, 9))]
    masks, scores = Superpixels().masks(Superpixels().embed(image), points)
    segmenter = Superpixels()
    embedding = segmenter.embed(image)
    some_masks, some_scores = segmenter.masks(embedding, points[order])
    assert np.array_equal(some_masks, masks[order])
    assert np.array_equal(some_scores, scores[order])


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 2), (3, 3), (500, 3), (3, 500), (641, 7)])
@pytest.mark.parametrize("kind", KINDS)
def test_images_of_unusual_sizes(kind, size):
    width, height = size
    image = random_image(kind, width, height, 1)
    point = np.array([[width - 1, height - 1]], np.int64)
    segmenter = Superpixels()
    masks, _ = segmenter.masks(segmenter.embed(image), point)
    assert masks.shape == (1, height, width)
    assert masks[0, height - 1, width - 1]
    assert components(masks[0]) == 1


def test_no_points_give_no_masks():
    segmenter = Superpixels()
    image = random_image("blocks", 60, 40, 0)
    masks, scores = segmenter.masks(segmenter.embed(image), np.empty((0, 2), np.int64))
    assert masks.shape == (0, 40, 60)
    assert scores.shape == (0,)


@pytest.mark.parametrize("grey", [0, 127, 255])
@pytest.mark.parametrize("size", [(640, 480), (31, 200), (5, 4)])
def test_an_image_of_one_colour_is_one_region(grey, size):
    width, height = size
    image = np.full((height, width, 3), grey, np.uint8)
    segmenter = Superpixels()
    masks, scores = segmenter.masks(segmenter.embed(image), grid(width, height, 3, 3))
    assert masks.all()
    assert np.all(scores > 0)


def test_a_noisy_wall_and_a_smooth_ramp_are_one_region():
    rng = np.random.default_rng(5)
    wall = np.clip(rng.normal(140, 4, (480, 640, 3)), 0, 255).astype(np.uint8)
    column = np.linspace(90, 180, 480)[:, None, None]
    ramp = np.broadcast_to(column, (480, 640, 3)).astype(np.uint8)
    for image in (wall, ramp):
        regions, covered = swept(image, grid(640, 480))
        assert len(regions) == 1
        assert covered == 1


@pytest.mark.parametrize(("noise", "brightness"), [(0, 1.0), (6, 1.0), (0, 0.5), (6, 0.6)])
def test_shapes_on_a_plain_background_are_found(noise, brightness):
    canvas = np.full((480, 640, 3), (190, 180, 170), np.uint8)
    shapes = []
    for number in range(3):
        shape = np.zeros((480, 640), np.uint8)
        if number == 0:
            cv2.circle(shape, (150, 150), 80, 1, -1)
        elif number == 1:
            cv2.rectangle(shape, (350, 60), (570, 200), 1, -1)
        else:
            cv2.fillPoly(shape, [np.array([[120, 440], [330, 280], [520, 430]])], 1)
        shapes.append(shape.astype(bool))
        canvas[shapes[-1]] = ((40, 40, 200), (60, 160, 60), (180, 80, 40))[number]
    rng = np.random.default_rng(2)
    noisy = canvas * brightness + rng.normal(0, noise, canvas.shape)
    image = np.clip(noisy, 0, 255).astype(np.uint8)
    shapes.append(~np.any(shapes, axis=0))
    points = np.array([[150, 150], [460, 130], [330, 380], [10, 10]], np.int64)
    segmenter = Superpixels()
    masks, scores = segmenter.masks(segmenter.embed(image), points)
    for mask, shape in zip(masks, shapes, strict=True):
        assert iou(mask, shape) > 0.95
    assert np.all(scores > 0.5)


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
def test_photographs_have_some_dozens_of_regions(photograph):
    image = cv2.imread(str(DATA / f"{photograph}.jpg"))
    height, width = image.shape[:2]
    regions, covered = swept(image, grid(width, height, 15, 13))
    assert 10 <= len(regions) <= 50
    assert covered >= 0.95
    assert max(region.mean() for region in regions) < 0.7


def box_mask(image, left, top, right, bottom):
    mask = np.zeros(image.shape[:2], bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize(
    ("photograph", "point", "box", "share"),
    [
        ("astronaut", (225, 130), (175, 60, 275, 200), (0.02, 0.05)),
        ("rocket", (400, 100), (60, 0, 580, 427), (0.4, 0.7)),
        ("coffee", (560, 340), (0, 0, 600, 400), (0.25, 0.6)),
    ],
    ids=["face", "sky", "table"],
)
def test_known_objects_are_found(photograph, point, box, share):
    image = cv2.imread(str(DATA / f"{photograph}.jpg"))
    segmenter = Superpixels()
    masks, _ = segmenter.masks(segmenter.embed(image), np.array([point], np.int64))
    within = (masks[0] & box_mask(image, *box)).sum() / masks[0].sum()
    assert within > 0.95
    assert share[0] < masks[0].mean() < share[1]


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
def test_most_regions_are_the_same_in_a_darker_photograph(photograph):
    image = cv2.imread(str(DATA / f"{photograph}.jpg"))
    darker = (image * 0.8).astype(np.uint8)
    points = grid(image.shape[1], image.shape[0], 15, 13)
    segmenter = Superpixels()
    before, _ = segmenter.masks(segmenter.embed(image), points)
    after, _ = segmenter.masks(segmenter.embed(darker), points)
    overlaps = [iou(one, other) for one, other in zip(before, after, strict=True)]
    assert np.mean(overlaps) > 0.55


def random_tree(seed, side=3):
    """A tree over side x side pieces of 2 x 2 px with random costs of every merge."""
    rng = np.random.default_rng(seed)
    labels = np.arange(side * side, dtype=np.int32).reshape(side, side)
    labels = labels.repeat(2, axis=0).repeat(2, axis=1)
    borders = find_borders(labels, rng.random(labels.shape, np.float32))
    area = np.bincount(labels.ravel()).astype(float)

    def cost(features, area, borders):
        return rng.random(borders.low.size)

    return build_tree(rng.random((area.size, 3)), area, borders, cost)


def cuts(tree, node, whole):
    """Yield every set of nodes that partitions the node."""
    yield (node,)
    if node >= tree.leaves and not whole[node]:
        for one in cuts(tree, tree.left[node], whole):
            for other in cuts(tree, tree.right[node], whole):
                yield one + other


def test_borders_count_pixel_pairs():
    labels = np.array([[0, 0, 1], [0, 2, 1]], np.int32)
    strength = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    borders = find_borders(labels, strength)
    found = zip(borders.low, borders.high, borders.length, borders.strength, strict=True)
    assert list(found) == [(0, 1, 1, 3), (0, 2, 2, 5 + 5), (1, 2, 1, 6)]


@given(seed=st.integers(0, 2**16))
def test_heights_never_decrease_towards_the_root(seed):
    tree = random_tree(seed, side=5)
    assert tree.leaves == 25
    assert np.all(tree.height <= tree.deaths())
    assert np.all(tree.parent[:-1] > np.arange(tree.parent.size - 1))
    assert tree.area[-1] == 100


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**16))
def test_the_best_cut_has_the_greatest_utility_of_all_cuts(seed):
    tree = random_tree(seed)
    rng = np.random.default_rng(seed)
    utility = rng.random(tree.height.size) * tree.area**0.8
    whole = rng.random(tree.height.size) < 0.1
    chosen = best_cut(tree, utility, whole)
    every = [sum(utility[list(cut)]) for cut in cuts(tree, tree.height.size - 1, whole)]
    assert np.isclose(utility[np.unique(chosen)].sum(), max(every))
    for leaf, node in enumerate(chosen):
        while leaf != node:
            leaf = tree.parent[leaf]
            assert leaf >= 0
