"""The page of a replay, as bytes: what is on it, what is left out, what it must not hold.

This file is longer than 300 lines because its tests share the scenes of two cameras, which take
seconds to make.
"""

import base64
import dataclasses
import hashlib
import json
import re
import tracemalloc
from collections import Counter
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deep_perception import masks
from deep_perception.masks import Size
from deep_perception.replay.journal.scenes import from_line, to_line
from deep_perception.replay.outputs.page import write_page
from deep_perception.replay.outputs.page.outlines import canvas_of, path_of, path_of_box
from support import photograph_scenes as photographed
from support.photograph_scenes import FRONT, REAR, Photographed, with_words

HOSTILE = "</script><img src=x onerror=alert(1)><!--<script>\u2028\ud800\x00 'mug' \"&amp; @DATA@"


@pytest.fixture(scope="module")
def made():
    return Photographed({FRONT: ["coffee", "chelsea"], REAR: ["rocket"]})


class Page(HTMLParser):
    """The texts of an HTML file: of its scripts by id, of its style, of the policy."""

    def __init__(self, path):
        super().__init__()
        self.bytes = path.read_bytes()
        self.blocks, self.tags, self.policy = {}, Counter(), ""
        self._name = ""
        self.feed(self.bytes.decode())

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags[tag] += 1
        if tag in ("script", "style", "title"):
            self._name = attributes.get("id", tag)
            self.blocks[self._name] = ""
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]

    def handle_data(self, data):
        if self._name:
            self.blocks[self._name] += data

    def handle_endtag(self, tag):
        self._name = ""

    def named(self, letter):
        """Number -> content, of the blocks whose name is a letter and a number."""
        return {
            int(name[1:]): text
            for name, text in self.blocks.items()
            if re.fullmatch(rf"{letter}\d+", name)
        }

    @property
    def index(self):
        return json.loads(self.blocks["index"])

    @property
    def keyframes(self):
        return {number: json.loads(text) for number, text in self.named("k").items()}

    def regions(self, keyframe):
        columns = self.index["columns"]
        return [dict(zip(columns, row, strict=True)) for row in keyframe["regions"]]

    def words(self, number):
        size = self.index["words_a_block"]
        return json.loads(self.blocks[f"w{number // size}"])[number % size]


def write(path, made, **changes):
    arguments = {"title": "kitchen", "records": made.open, "image_of": made.picture, **changes}
    write_page(path, **arguments)
    return Page(path)


def test_every_keyframe_has_its_image_and_descriptions(made, tmp_path):
    page = write(tmp_path / "report.html", made)
    assert len(page.keyframes) == len(made.scenes) > 6
    for number, record in enumerate(made.scenes):
        keyframe = page.keyframes[number]
        assert keyframe["stamp_ns"] == str(record.stamp_ns)
        assert keyframe["picture"] == "yes"
        data = np.frombuffer(base64.b64decode(page.named("p")[number]), np.uint8)
        shown = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert np.abs(shown.astype(int) - made.picture(record)).mean() < 8
        for region, told in zip(record.scene.regions, page.regions(keyframe), strict=True):
            said = region.description
            assert (told["index"], told["status"]) == (region.index, said.status)
            if said.status == "pending":
                assert told["words"] == -1
            else:
                words = page.words(told["words"])
                assert words["text"] == said.text
                assert words["attributes"] == said.attributes
                assert words["error"] == said.error
    statuses = Counter(r.description.status for record in made.scenes for r in record.scene.regions)
    assert page.index["statuses"] == statuses
    assert set(statuses) == {"described", "reused", "failed", "pending"}


def test_the_index_says_where_labels_and_tracks_are(made, tmp_path):
    page = write(tmp_path / "report.html", made)
    assert [camera["topic"] for camera in page.index["cameras"]] == [FRONT, REAR]
    for camera in page.index["cameras"]:
        scenes = [record for record in made.scenes if record.topic == camera["topic"]]
        assert [row[1] for row in camera["frames"]] == [record.keyframe for record in scenes]
        regions = [(at, r) for at, record in enumerate(scenes) for r in record.scene.regions]
        for label in camera["labels"]:
            places = [
                at
                for at, region in regions
                if (region.description.label or region.description.status)
                == (label["name"] or label["status"])
            ]
            assert label["regions"] == len(places)
            assert numbers_in(label["keyframes"]) == sorted(set(places))
        lives = {}
        for track in camera["tracks"]:
            places = [at for at, region in regions if region.track_id == track["id"]]
            assert numbers_in(track["keyframes"]) == places
            words = [r.description for _, r in regions if r.track_id == track["id"]]
            labels = [each.label for each in words if each.label] or [words[-1].status]
            label = camera["labels"][track["label"]]
            assert (label["name"] or label["status"]) == labels[-1]
            lives[track["id"]] = scenes[places[-1]].stamp_ns - scenes[places[0]].stamp_ns
        longest = [lives[camera["tracks"][number]["id"]] for number in camera["longest"]]
        assert longest == sorted(lives.values(), reverse=True)


def test_the_last_keyframe_is_the_newest_until_the_recording_ends(made, tmp_path):
    ends = {record.topic: record.log_ns for record in made.scenes}
    stop_ns = max(ends.values()) + 2_500_000_000
    for camera in write(tmp_path / "report.html", made, stop_ns=stop_ns).index["cameras"]:
        assert camera["tail_s"] == round((stop_ns - ends[camera["topic"]]) / 1e9, 3) >= 2.5
    for camera in write(tmp_path / "report.html", made).index["cameras"]:
        assert camera["tail_s"] is None


def numbers_in(ends):
    runs = zip(ends[::2], ends[1::2], strict=True)
    return [number for start, end in runs for number in range(start, end)]


def test_the_same_scenes_give_the_same_bytes_and_no_path(made, tmp_path):
    first = write(tmp_path / "one.html", made)
    again = write(tmp_path / "another.html", made)
    assert first.bytes == again.bytes
    assert str(tmp_path).encode() not in first.bytes
    assert str(photographed.DATA).encode() not in first.bytes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another.html", "one.html"]


def test_nothing_on_it_needs_a_network(made, tmp_path):
    page = write(tmp_path / "report.html", made)
    code = page.blocks["script"] + page.blocks["style"]
    addresses = set(re.findall(rb"https?://[^\s\"'<>)]+", page.bytes))
    assert addresses == {b"http://www.w3.org/2000/svg"}  # a name, not an address
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", code)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest", code)
    assert "default-src 'none'" in page.policy and "unsafe" not in page.policy
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.blocks[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in page.policy


def test_text_cannot_leave_its_block(made, tmp_path):
    plain = write(tmp_path / "plain.html", made)
    record = with_words(
        made.scenes[0], 0, label=HOSTILE, text=HOSTILE, attributes={HOSTILE: HOSTILE}
    )
    record = dataclasses.replace(record, reason=HOSTILE, frame_id=HOSTILE)
    page = write(
        tmp_path / "hostile.html",
        made,
        records=lambda: iter([record, *made.scenes[1:]]),
        title=HOSTILE,
        warnings=[HOSTILE],
    )
    assert page.tags == plain.tags
    assert page.blocks.keys() == plain.blocks.keys()
    assert page.index["title"] == page.index["warnings"][0] == HOSTILE
    told = page.words(page.regions(page.keyframes[0])[0]["words"])
    # Words are single lines of visible characters.
    whole = HOSTILE.replace("\ud800", "\ufffd").replace("\u2028", " ").replace("\x00", "")
    whole = " ".join(whole.split())
    assert told["label"] == told["text"] == whole
    assert told["attributes"] == {whole: whole}


def test_a_long_recording_is_thinned_out_evenly(made, tmp_path):
    asked = []

    def picture(record):
        asked.append((record.topic, record.keyframe))
        return made.picture(front if record.topic == FRONT else rear)

    front = [record for record in made.scenes if record.topic == FRONT][-1]
    rear = next(record for record in made.scenes if record.topic == REAR)

    def long():
        for number in range(1, 61):
            yield dataclasses.replace(front, keyframe=number, stamp_ns=number * 10**9)
            if number <= 3:
                yield dataclasses.replace(rear, keyframe=number, stamp_ns=number * 10**9)

    page = write(
        tmp_path / "long.html", made, records=long, image_of=picture, max_images=9, max_keyframes=23
    )
    front_camera, rear_camera = page.index["cameras"]
    kept = [row[1] for row in front_camera["frames"]]
    assert (front_camera["total"], rear_camera["total"]) == (60, 3)
    assert len(kept) == 20 and kept[0] == 1 and kept[-1] == 60
    assert set(np.diff(kept)) <= {3, 4}
    assert [row[1] for row in rear_camera["frames"]] == [1, 2, 3]
    pictured = [number for topic, number in asked if topic == FRONT]
    assert len(pictured) == 6 and pictured[0] == 1 and pictured[-1] == 60
    assert [number for topic, number in asked if topic == REAR] == [1, 2, 3]
    assert len(page.named("p")) == 9
    assert front_camera["pictures_left_out"] == 14
    # What has no picture still has its words, and boxes for outlines.
    left_out = next(each for each in page.keyframes.values() if each["picture"] == "left out")
    canvas = canvas_of(front.scene.size)
    for region, told in zip(front.scene.regions, page.regions(left_out), strict=True):
        assert told["path"] == path_of_box(region.box, front.scene.size, canvas)
        if region.description.text:
            assert page.words(told["words"])["text"] == region.description.text


def test_the_longest_side_of_an_image_is_limited(made, tmp_path):
    page = write(tmp_path / "report.html", made, image_side=200)
    for text in page.named("p").values():
        data = np.frombuffer(base64.b64decode(text), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (150, 200, 3)


def test_an_image_that_cannot_be_read_affects_no_other(made, tmp_path):
    page = write(
        tmp_path / "report.html",
        made,
        image_of=lambda record: None if record.keyframe == 2 else made.picture(record),
    )
    lost = [number for number, record in enumerate(made.scenes) if record.keyframe == 2]
    assert [n for n, each in page.keyframes.items() if each["picture"] == "unreadable"] == lost
    assert set(page.named("p")) == set(range(len(made.scenes))) - set(lost)
    assert [camera["unreadable"] for camera in page.index["cameras"]] == [1, 1]


def test_a_reused_description_is_stored_once(made, tmp_path):
    one = write(tmp_path / "one.html", made, records=lambda: iter(made.scenes[:1]), max_images=0)
    many = write(
        tmp_path / "many.html", made, records=lambda: iter(made.scenes[:1] * 50), max_images=0
    )
    assert many.blocks["w0"] == one.blocks["w0"]
    assert len(many.named("w")) == 1 and len(many.named("k")) == 50


def test_more_descriptions_than_a_block_takes(made, tmp_path):
    record = made.scenes[0]

    def talkative():
        for number in range(30):
            changed = record
            for place, region in enumerate(record.scene.regions):
                if region.description.text:
                    changed = with_words(changed, place, text=f"Words {number} {place}.")
            yield changed

    page = write(tmp_path / "report.html", made, records=talkative, max_images=0)
    assert len(page.named("w")) > 2
    for number, keyframe in page.keyframes.items():
        for place, told in enumerate(page.regions(keyframe)):
            if told["status"] == "described":
                assert page.words(told["words"])["text"] == f"Words {number} {place}."


def test_a_page_is_complete_or_missing(made, tmp_path):
    path = tmp_path / "report.html"
    before = write(path, made).bytes

    def picture(record):
        if record.keyframe == 3:
            raise OSError("the disk is gone")
        return made.picture(record)

    with pytest.raises(OSError, match="the disk is gone"):
        write(path, made, image_of=picture)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_recording_without_keyframes(made, tmp_path):
    page = write(tmp_path / "report.html", made, records=lambda: iter([]))
    assert page.index["cameras"] == [] and page.keyframes == {}
    assert page.blocks["title"] == "kitchen"


@pytest.mark.slow
def test_memory_does_not_grow_with_the_recording(made, tmp_path):
    lines = [to_line(record) for record in made.scenes]
    pictures = [made.picture(record) for record in made.scenes]

    def peak(times):
        def records():
            for _ in range(times):
                yield from map(from_line, lines)

        path = tmp_path / "report.html"
        tracemalloc.start()
        write_page(
            path,
            title="kitchen",
            records=records,
            image_of=lambda record: pictures[record.keyframe % len(pictures)].copy(),
        )
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most, path.stat().st_size

    peak(1)  # what the first call imports and keeps
    (few, small), (many, large) = peak(2), peak(10)
    assert large - small > 2_000_000
    assert many - few < 0.2 * (large - small)


# -- outlines -----------------------------------------------------------------------------------


def filled(path, canvas):
    """The even-odd filling of a path of ``path_of``, drawn by OpenCV (HxW bool)."""
    outlines = []
    for sub in path.split("M")[1:]:
        start, _, line = sub.rstrip("z").partition("l")
        points = [[int(number) for number in start.split()]]
        steps = [int(number) for number in re.findall(r"-?\d+", line)]
        for step in zip(steps[::2], steps[1::2], strict=True):
            points.append([points[-1][0] + step[0], points[-1][1] + step[1]])
        outlines.append(np.array(points, np.int32))
    drawn = np.zeros((canvas.height, canvas.width), np.uint8)
    cv2.fillPoly(drawn, outlines, 1)
    return drawn > 0


blobs = st.lists(
    st.tuples(
        st.integers(0, 159), st.integers(0, 119), st.integers(6, 60), st.integers(6, 60),
        st.booleans(), st.sampled_from((1, 1, 0)),
    ),
    min_size=1,
    max_size=6,
)  # fmt: skip


@given(blobs)
def test_an_outline_covers_its_mask(shapes):
    mask = np.zeros((120, 160), np.uint8)
    for x, y, width, height, round_, value in shapes:
        if round_:
            cv2.ellipse(mask, (x, y), (width // 2, height // 2), 20, 0, 360, value, -1)
        else:
            cv2.rectangle(mask, (x, y), (x + width, y + height), value, -1)
    mask = mask > 0
    canvas = canvas_of(masks.size_of(mask))
    assert canvas == Size(1200, 900)
    assume(mask.any())
    path = path_of(masks.cut(mask), canvas)
    drawn = filled(path, canvas)
    truth = masks.scale_mask(mask, canvas)
    # Outlines go through the middle of a mask's pixels: what differs lies next to its edge.
    near, inside = np.ones((21, 21), np.uint8), truth.astype(np.uint8)
    outside_is_empty = {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}
    edge = cv2.dilate(inside, near) != cv2.erode(inside, near, **outside_is_empty)
    assert not ((drawn != truth) & ~edge).any()


def test_an_outline_leaves_holes_open_and_small_specks_out():
    mask = np.zeros((300, 400), np.bool_)
    mask[50:250, 100:300] = True
    mask[100:200, 150:250] = False
    mask[10:11, 10:12] = True
    path = path_of(masks.cut(mask), canvas_of(masks.size_of(mask)))
    assert path.count("M") == 2
    drawn = filled(path, Size(1200, 900))
    assert not drawn[450, 600] and drawn[200, 600] and not drawn[30:40, 30:40].any()


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (1, 1)])
def test_a_thin_region_still_has_an_outline(shape):
    mask = np.zeros((300, 400), np.bool_)
    mask[20 : 20 + shape[0], 30 : 30 + shape[1]] = True
    path = path_of(masks.cut(mask), canvas_of(masks.size_of(mask)))
    assert re.fullmatch(r"M\d+ \d+l-?\d+[ -]\d+.*z", path)


def test_a_mask_of_working_size_has_the_outline_of_the_one_of_source_size():
    working = np.zeros((120, 160), np.bool_)
    working[20:90, 30:120] = True
    canvas = canvas_of(Size(1600, 1200))
    large = masks.scale_mask(working, Size(1600, 1200))
    one, other = (filled(path_of(masks.cut(mask), canvas), canvas) for mask in (working, large))
    assert (one != other).mean() < 0.01
