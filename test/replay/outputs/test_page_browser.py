"""The page of a replay in a real browser, opened from the disk with the network off.

This file is longer than 300 lines because its tests share the browsers and the page that they
show, which take seconds to start and to make.
"""

import dataclasses
import re
from contextlib import contextmanager

import pytest

from deep_perception.replay.outputs.page import write_page
from support import browser as browsing
from support import photograph_scenes as photographed
from support.photograph_scenes import FRONT, REAR, Photographed, with_words

pytestmark = pytest.mark.browser

DESKTOP = {"width": 1440, "height": 1000}
PHONE = {"width": 390, "height": 844, "phone": True}
# Seconds of the recording behind its last keyframe.
TAIL_S = 3
HOSTILE = "</script><img src=x onerror=\"window.attacked=1\"><b>'mug'</b>\u2028 \u202eabc"


@pytest.fixture(scope="module")
def made():
    return Photographed({FRONT: ["coffee", "chelsea"], REAR: ["rocket"]})


@pytest.fixture(scope="module")
def report(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(
        path,
        title="kitchen_2026",
        records=made.open,
        image_of=made.picture,
        stop_ns=made.scenes[-1].log_ns + TAIL_S * 10**9,
        warnings=["2 frames could not be decoded"],
    )
    return path


@contextmanager
def browser(folder, **of_window):
    driver = browsing.start(folder / "profile", **of_window)
    try:
        yield Reader(driver)
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def desktop(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("desktop"), **DESKTOP) as reader:
        yield reader


@pytest.fixture(scope="module")
def phone(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("phone"), **PHONE) as reader:
        yield reader


@pytest.fixture(params=["desktop", "phone"])
def reader(request):
    return request.getfixturevalue(request.param)


class Reader:
    """What a person does with a page, and sees of it."""

    def __init__(self, driver):
        self.driver = driver

    @contextmanager
    def opened(self, path, place=""):
        """The page, which must not complain nor ask for anything but itself."""
        self.driver.get("about:blank")
        browsing.requests(self.driver)
        browsing.console_errors(self.driver)
        self.driver.get(path.as_uri() + place)
        yield
        assert browsing.console_errors(self.driver) == []
        assert browsing.requests(self.driver) == [path.as_uri()]

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def text(self, selector):
        return self.find(selector).text

    def press(self, *keys):
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.keys import Keys

        actions = ActionChains(self.driver)
        for key in keys:
            actions.send_keys(getattr(Keys, key, key))
        actions.perform()

    def point(self, x, y, *, kind="mouse", press=False):
        """Move the mouse, or a finger, to a place of the window."""
        from selenium.webdriver.common.actions.action_builder import ActionBuilder
        from selenium.webdriver.common.actions.pointer_input import PointerInput

        actions = ActionBuilder(self.driver, mouse=PointerInput(kind, kind))
        actions.pointer_action.move_to_location(round(x), round(y))
        if press:
            actions.pointer_action.pointer_down().pointer_up()
        actions.perform()

    def place_of(self, region):
        """A place of the window where a region of the picture is on top, or nothing."""
        return self.run(
            """
            const path = document.querySelector(`#regions [data-place="${arguments[0]}"]`);
            path.scrollIntoView({block: "nearest"});
            const box = path.getBoundingClientRect();
            for (let y = box.top + 1.5; y < box.bottom; y += 2)
              for (let x = box.left + 1.5; x < box.right; x += 2)
                if (document.elementFromPoint(x, y) === path) return [x, y];
            return null;
            """,
            region,
        )

    def middle_of(self, selector, share=0.5):
        return self.run(
            """
            const element = document.querySelector(arguments[0]);
            element.scrollIntoView({block: "center"});
            const box = element.getBoundingClientRect();
            return [box.left + arguments[1] * box.width, box.top + box.height / 2];
            """,
            selector,
            share,
        )

    def keyframe(self):
        """Which keyframe is shown, from 0."""
        return int(re.match(r"Keyframe ([\d,]+) of", self.text("#where"))[1].replace(",", "")) - 1

    def search(self, text):
        field = self.find("#search")
        field.clear()
        field.send_keys(text)


def of_camera(made, topic=FRONT):
    return [record for record in made.scenes if record.topic == topic]


def described(record, status="described"):
    """Places of regions of a status."""
    return [
        place
        for place, region in enumerate(record.scene.regions)
        if region.description.status == status
    ]


def says(reader, record, place):
    """The words of a region are what is shown."""
    region, shown = record.scene.regions[place], reader.text("#words")
    words = region.description
    assert words.label in shown and words.text in shown
    for key, value in words.attributes.items():
        assert f"{key}\n{value}" in shown
    assert region.track_id in shown and f"D{region.index}," in shown
    assert f"{region.area:,} px" in shown
    if words.describer:
        assert f"Described by\n{words.describer}" in shown
    return shown


def test_the_header_says_what_is_there(reader, report, made):
    with reader.opened(report):
        regions = [region for record in made.scenes for region in record.scene.regions]
        failed = sum(region.description.status == "failed" for region in regions)
        assert reader.driver.title == reader.text("h1") == "kitchen_2026"
        assert f"{len(made.scenes)} keyframes · 2 cameras · {len(regions)} regions" in (
            reader.text("#summary")
        )
        assert f"{failed} failed" in reader.text("#summary")
        assert reader.text("#warnings summary") == "1 warning"
        reader.find("#warnings summary").click()
        assert "2 frames could not be decoded" in reader.text("#warnings")
        picture = reader.find("#picture")
        assert reader.run("return arguments[0].naturalWidth", picture) == photographed.WIDTH
        assert picture.is_displayed()


def test_pointing_at_a_region_shows_its_words(desktop, report, made):
    record = of_camera(made)[0]
    with desktop.opened(report):
        pointed = 0
        for place in described(record)[:8]:
            if at := desktop.place_of(place):
                desktop.point(*at)
                says(desktop, record, place)
                assert desktop.text("#chip") == record.scene.regions[place].description.label
                assert "active" in desktop.find(f'[data-place="{place}"]').get_attribute("class")
                pointed += 1
        assert pointed > 4
        desktop.point(5, 5)
        assert "Point at a region" in desktop.text("#words")


def test_a_tap_chooses_a_region_until_the_next(phone, report, made):
    record = of_camera(made)[0]
    with phone.opened(report):
        first, second = [place for place in described(record) if phone.place_of(place)][:2]
        for place in (first, second):
            phone.point(*phone.place_of(place), kind="touch", press=True)
            says(phone, record, place)
            phone.point(*phone.middle_of("#words"), kind="touch", press=True)
            says(phone, record, place)
        phone.point(*phone.place_of(second), kind="touch", press=True)
        assert "Tap a region" in phone.text("#words")


@pytest.mark.parametrize("status", ["reused", "failed", "pending"])
def test_what_was_not_described_now_says_so(desktop, report, made, status):
    scenes = of_camera(made)
    at, places = next((at, found) for at, s in enumerate(scenes) if (found := described(s, status)))
    with desktop.opened(report, f"#c1k{scenes[at].keyframe}"):
        region = scenes[at].scene.regions[places[0]]
        items = desktop.all("#region-list .item")
        items[places[0]].click()
        shown = desktop.text("#words")
        if status == "reused":
            age = (scenes[at].stamp_ns - region.last_described_ns) / 1e9
            assert f"reused, {age:.1f} s old" in says(desktop, scenes[at], places[0])
            assert f"{age:.1f} s old" in items[places[0]].text
        elif status == "failed":
            assert f"Not described: {photographed.REFUSED}" in shown
            assert "(failed)" in items[places[0]].text
        else:
            assert "not described yet" in shown and region.track_id in shown
        drawn = desktop.find(f'#regions [data-place="{places[0]}"]')
        assert status in drawn.get_attribute("class")


def test_the_keyboard_goes_everywhere(desktop, report, made):
    scenes = of_camera(made)
    with desktop.opened(report):
        desktop.run("document.querySelector('#drawn').focus()")
        desktop.press("TAB")
        first = int(desktop.run("return document.activeElement.dataset.place"))
        says_or_failed(desktop, scenes[0], first)
        desktop.press("ARROW_DOWN", "ARROW_DOWN", "ARROW_UP")
        place = int(desktop.run("return document.activeElement.dataset.place"))
        assert place != first
        says_or_failed(desktop, scenes[0], place)
        desktop.press("ENTER")
        chosen = desktop.find('#regions [aria-pressed="true"]').get_attribute("data-place")
        assert int(chosen) == place
        desktop.press("ARROW_RIGHT", "ARROW_RIGHT")
        assert desktop.keyframe() == 2
        assert desktop.run("return document.activeElement.closest('#regions') !== null")
        desktop.press("ARROW_LEFT", "ESCAPE", "TAB")
        assert desktop.keyframe() == 1
        desktop.press("END")
        assert desktop.keyframe() == len(scenes) - 1
        desktop.press("HOME")
        assert desktop.keyframe() == 0
        spoken = desktop.find("#strip").get_attribute("aria-valuetext")
        assert spoken.startswith(f"1 of {len(scenes)}, +0 s, first picture, ")
        # An arrow in the search box moves the cursor of the text.
        desktop.find("#search").send_keys("a")
        desktop.press("ARROW_RIGHT")
        assert desktop.keyframe() == 0


def says_or_failed(reader, record, place):
    words = record.scene.regions[place].description
    assert (words.text or words.error) in reader.text("#words")


def test_the_time_line_jumps_and_steps(reader, report, made):
    scenes = of_camera(made)
    times = [(record.stamp_ns - scenes[0].stamp_ns) / 1e9 for record in scenes]
    end = times[-1] + (made.scenes[-1].log_ns - scenes[-1].log_ns) / 1e9 + TAIL_S
    touch = "touch" if reader.run("return matchMedia('(pointer: coarse)').matches") else "mouse"
    with reader.opened(report):
        for at in (3, len(scenes) - 1, 0, 1):
            until = times[at + 1] if at + 1 < len(times) else end
            share = (times[at] + until) / 2 / end
            reader.point(*reader.middle_of("#strip", share), kind=touch, press=True)
            assert reader.keyframe() == at
            assert f"+{times[at]:g} s" in reader.text("#where")
        reader.find("#next").click()
        assert reader.keyframe() == 2
        reader.find("#previous").click()
        reader.find("#previous").click()
        assert reader.keyframe() == 0 and not reader.find("#previous").is_enabled()
        reasons = {record.reason for record in scenes}
        assert len(reader.all("#legend li")) == len(reasons) > 2


def test_labels_are_counted_and_filter(reader, report, made):
    scenes = of_camera(made)
    regions = [(at, region) for at, record in enumerate(scenes) for region in record.scene.regions]
    named = [(at, r.description.label) for at, r in regions if r.description.label]
    with reader.opened(report):
        word = named[0][1].split()[1]
        reader.search(word.upper())
        matching = [(at, label) for at, label in named if word in label]
        on = sorted({at for at, _ in matching})
        assert f"{len(matching)} regions on {len(on)} of {len(scenes)} keyframes" in (
            reader.text("#filter-says")
        )
        listed = [item.text.split("\n") for item in reader.all("#label-list .item")]
        assert {label for label, _ in listed} == {label for _, label in matching}
        for label, number in listed:
            assert int(number) == sum(label == each for _, each in matching)
        highlighted(reader, scenes, lambda region: word in region.description.label)
        # One of the labels alone.
        label = listed[-1][0]
        reader.run("arguments[0].click()", reader.all("#label-list .item")[-1])
        where = sorted({at for at, each in named if each == label})
        assert f" on {len(where)} of {len(scenes)} keyframes" in reader.text("#filter-says")
        while reader.find("#previous-match").is_enabled():
            reader.find("#previous-match").click()
        if where[0] > reader.keyframe():
            reader.find("#next-match").click()
        visited = [reader.keyframe()]
        while reader.find("#next-match").is_enabled():
            reader.find("#next-match").click()
            visited.append(reader.keyframe())
            highlighted(reader, scenes, lambda region: region.description.label == label)
        assert visited == where
        tracks = [track.text for track in reader.all("#track-list .track bdi:first-of-type")]
        assert tracks and set(tracks) == {label}
        reader.find("#clear").click()
        assert not reader.find("#filter").is_displayed()
        assert reader.all("#regions .away") == []
        reader.search("no such label")
        assert "No label is like this" in reader.text("#labels")
        assert "0 regions on 0 of" in reader.text("#filter-says")


def highlighted(reader, scenes, wanted):
    regions = scenes[reader.keyframe()].scene.regions
    found = reader.run(
        "return [...document.querySelectorAll('#regions .match')].map((e) => +e.dataset.place)"
    )
    assert sorted(found) == [place for place, each in enumerate(regions) if wanted(each)]
    assert len(reader.all("#regions .away")) == len(regions) - len(found)


def test_tracks_show_where_a_region_was_seen(reader, report, made):
    scenes = of_camera(made)
    tracks = {region.track_id for record in scenes for region in record.scene.regions}
    with reader.opened(report):
        assert f"{len(tracks)}, the longest-lived first" in reader.text("#track-count")
        assert len(reader.all("#track-list .track")) < len(tracks)
        reader.run("arguments[0].scrollIntoView({block: 'center'})", reader.find("#more-tracks"))
        reader.find("#more-tracks").click()
        assert len(reader.all("#track-list .track")) == len(tracks)
        # One that is not in the keyframe that is shown: to where it is.
        here = {region.track_id for region in scenes[0].scene.regions}
        ids = [row.text for row in reader.all("#track-list .id")]
        row = next(at for at, id_ in enumerate(ids) if id_ not in here)
        reader.run("arguments[0].scrollIntoView({block: 'center'})", reader.all(".track")[row])
        reader.all("#track-list .name")[row].click()
        shown = scenes[reader.keyframe()].scene.regions
        places = [place for place, each in enumerate(shown) if each.track_id == ids[row]]
        assert len(places) == 1
        pressed = reader.find('#regions [aria-pressed="true"]').get_attribute("data-place")
        assert int(pressed) == places[0]
        assert f"Track\n{ids[row]}" in reader.text("#words")
        says_or_failed(reader, scenes[reader.keyframe()], places[0])


def test_a_chosen_region_stays_chosen_while_it_is_seen(desktop, report, made):
    first, second = of_camera(made)[:2]
    later = {region.track_id: place for place, region in enumerate(second.scene.regions)}
    place = next(p for p, r in enumerate(first.scene.regions) if r.track_id in later)
    with desktop.opened(report):
        desktop.all("#region-list .item")[place].click()
        desktop.find("#next").click()
        pressed = desktop.find('#regions [aria-pressed="true"]').get_attribute("data-place")
        assert int(pressed) == later[first.scene.regions[place].track_id]


def test_one_camera_at_a_time(reader, report, made):
    from selenium.webdriver.support.ui import Select

    rear = of_camera(made, REAR)
    with reader.opened(report):
        choice = Select(reader.find("#camera"))
        assert [option.text for option in choice.options] == [
            f"{topic} ({len(of_camera(made, topic))})" for topic in (FRONT, REAR)
        ]
        choice.select_by_index(1)
        assert f"of {len(rear)} ·" in reader.text("#where")
        assert len(reader.all("#region-list .item")) == len(rear[0].scene.regions)
        labels = {r.description.label for record in rear for r in record.scene.regions}
        listed = {item.text for item in reader.all("#label-list .item bdi")}
        assert listed - {"(failed)", "(not described yet)"} == labels - {""}
    with reader.opened(report, f"#c2k{rear[2].keyframe}"):
        assert reader.keyframe() == 2
        assert Select(reader.find("#camera")).first_selected_option.text.startswith(REAR)


def test_hostile_words_are_only_words(reader, made, tmp_path):
    path = tmp_path / "hostile.html"
    first = made.scenes[0]
    record = with_words(first, described(first)[0], label=HOSTILE, text=HOSTILE * 3)
    place = described(first)[0]
    record = dataclasses.replace(record, reason=HOSTILE, frame_id=HOSTILE)
    write_page(
        path,
        title=HOSTILE,
        records=lambda: iter([record, *made.scenes[1:]]),
        image_of=made.picture,
        warnings=[HOSTILE],
    )
    with reader.opened(path):
        assert reader.run("return document.querySelector('h1').textContent") == HOSTILE
        reader.run("arguments[0].click()", reader.all("#region-list .item")[place])
        words = reader.run("return document.querySelector('#words .text').textContent")
        # Descriptions have no separators of lines and no marks of direction.
        assert words == HOSTILE.replace("\u2028 \u202e", " ") * 3
        reader.search("onerror")
        assert "1 region on 1 of" in reader.text("#filter-says")
        assert reader.run("return window.attacked") is None
        assert len(reader.all("img")) == 1 and reader.all("b") == []
        assert reader.run("return document.scripts.length") == path.read_text().count("<script")
        assert_fits(reader)


def test_what_the_page_forbids_is_seen_by_these_tests(desktop, report):
    """A page that asked the network, or ran a script of its words, would not pass above."""
    desktop.driver.get(report.as_uri())
    desktop.run("document.body.append(Object.assign(new Image(), {src: 'https://a.invalid/x'}))")
    desktop.run(
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"data:,\" onerror=\"1\">')"
    )
    refused = desktop_waits_for(desktop, 2)
    assert any("https://a.invalid/x" in line for line in refused)
    assert any("inline event handler" in line for line in refused)


def desktop_waits_for(reader, lines):
    from selenium.webdriver.support.ui import WebDriverWait

    found = []

    def enough(driver):
        found.extend(browsing.console_errors(driver))
        return len(found) >= lines

    WebDriverWait(reader.driver, 20).until(enough)
    return found


def test_pictures_that_are_left_out_or_lost(reader, made, tmp_path):
    path = tmp_path / "report.html"
    scenes = of_camera(made)
    lost = scenes[-1].keyframe
    write_page(
        path,
        title="kitchen",
        records=lambda: iter(scenes),
        image_of=lambda record: None if record.keyframe == lost else made.picture(record),
        max_images=2,
    )
    with reader.opened(path):
        assert f"pictures of 1 of {len(scenes)} keyframes" in reader.text("#notes")
        assert "1 picture could not be read" in reader.text("#notes")
        assert not reader.find("#no-picture").is_displayed()
        reader.find("#next").click()
        assert "Left out" in reader.text("#no-picture")
        assert not reader.find("#picture").is_displayed()
        place = described(scenes[1], scenes[1].scene.regions[0].description.status)[0]
        reader.run("arguments[0].click()", reader.all("#region-list .item")[place])
        says_or_failed(reader, scenes[1], place)
        reader.run("document.querySelector('#no-picture button').click()")
        assert reader.keyframe() == 0 and reader.find("#picture").is_displayed()
        reader.find("#strip").send_keys("\ue010")  # End
        assert "could not be read" in reader.text("#no-picture")
        assert len(reader.all("#regions .region")) == len(scenes[-1].scene.regions)


def test_stamps_that_go_back_do_not_break_the_time_line(desktop, made, tmp_path):
    path = tmp_path / "report.html"
    scenes = of_camera(made)
    turned = [
        dataclasses.replace(record, stamp_ns=scenes[-1 - at].stamp_ns)
        for at, record in enumerate(scenes)
    ]
    write_page(path, title="again", records=lambda: iter(turned), image_of=made.picture)
    with desktop.opened(path):
        assert desktop.text("#axis-name") == "time recorded"
        desktop.point(*desktop.middle_of("#strip", 0.999), press=True)
        assert desktop.keyframe() == len(scenes) - 1
        assert "−" in desktop.text("#where")


def test_a_recording_without_keyframes_says_so(reader, tmp_path):
    path = tmp_path / "report.html"
    write_page(path, title="empty", records=lambda: iter([]), image_of=lambda record: None)
    with reader.opened(path):
        assert reader.text("#empty") == "This recording has no keyframes."
        assert not reader.find("main").is_displayed()


# -- for everybody -------------------------------------------------------------------------------


def assert_fits(reader):
    """Nothing sticks out of the window to the side."""
    assert reader.run("return document.documentElement.scrollWidth <= innerWidth")


CONTRAST = """
const channel = (value) => { value /= 255; return value <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4; };
const parse = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
const luminance = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
const behind = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const colour = parse(getComputedStyle(each).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const poor = [];
let checked = 0;
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const box = element.getBoundingClientRect();
  if (!own || !box.width || element.closest("script, option, [hidden], :disabled")) continue;
  const [a, b] = [luminance(parse(getComputedStyle(element).color)), luminance(behind(element))];
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  checked += 1;
  if (ratio < 4.5) poor.push([element.textContent.slice(0, 40), ratio]);
}
return [checked, poor];
"""  # noqa: E501


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_texts_are_readable_in_light_and_dark(report, made, tmp_path, window, dark):
    scenes = of_camera(made)
    with browser(tmp_path, **window, dark=dark) as reader, reader.opened(report):
        dark_page = reader.run(
            "return parseInt(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]) < 60"
        )
        assert dark_page == dark
        for at, status in ((0, "failed"), (1, "reused"), (0, "described")):
            reader.run("go(arguments[0])", at)
            place = described(scenes[at], status)[0]
            reader.run("arguments[0].click()", reader.all("#region-list .item")[place])
            checked, poor = reader.run(CONTRAST)
            assert checked > 60 and poor == []
        assert_fits(reader)


def test_everything_that_can_be_used_has_a_name_and_room(phone, report):
    with phone.opened(report):
        phone.search("a")
        used = phone.all("main button, main input, select, #strip, #regions .region")
        assert len(used) > 60
        assert [each.get_attribute("outerHTML") for each in used if not each.accessible_name] == []
        for each in phone.all("main button, main .check, select"):
            if each.is_displayed():
                assert each.rect["height"] >= 40
        assert_fits(phone)
