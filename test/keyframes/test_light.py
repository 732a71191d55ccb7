"""Changes of light alone make no keyframe."""

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.keyframes import VIEWS, exposed, reasons_of, sine


def jpeg(image, quality):
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


FLICKER = {
    "gradual gain": lambda image, n: exposed(image, gain=1 + 0.3 * sine(n, 60)),
    "gradual offset": lambda image, n: exposed(image, offset=76 * sine(n, 60)),
    "gradual both": lambda image, n: exposed(
        image, gain=1 + 0.3 * sine(n, 60), offset=38 * sine(n, 47)
    ),
    "sudden gain": lambda image, n: exposed(image, gain=(1.0, 1.3, 0.7)[n // 7 % 3]),
    "every other frame": lambda image, n: exposed(image, gain=(0.7, 1.3)[n % 2]),
    "sudden both": lambda image, n: exposed(
        image, gain=(1.0, 1.3, 0.7)[n // 7 % 3], offset=(0, 30, -30)[n // 5 % 3]
    ),
    "gamma": lambda image, n: exposed(image, gamma=(1.0, 0.7, 1.4)[n // 7 % 3]),
    "white balance": lambda image, n: exposed(
        image, balance=(1 - 0.15 * sine(n, 60), 1.0, 1 + 0.15 * sine(n, 60))
    ),
    "sensor noise": lambda image, n: exposed(image, noise=15, seed=n),
    "gain and noise": lambda image, n: exposed(image, gain=1 + 0.3 * sine(n, 60), noise=10, seed=n),
    "gain and JPEG": lambda image, n: jpeg(exposed(image, gain=1 + 0.3 * sine(n, 60)), 30 + n % 50),
}


@pytest.mark.parametrize("flicker", FLICKER)
@pytest.mark.parametrize("name", VIEWS)
def test_flicker_is_no_keyframe(name, flicker):
    frames = [FLICKER[flicker](VIEWS[name], number) for number in range(40)]
    # Without a minimum interval every frame is compared.
    assert reasons_of(frames, min_interval_s=0.0) == ["first"] + [""] * 39


EXPOSURES = st.tuples(st.floats(0.7, 1.3), st.floats(-30, 30))


@given(name=st.sampled_from(sorted(VIEWS)), before=EXPOSURES, now=EXPOSURES)
def test_any_two_exposures_of_a_view_are_the_same_view(name, before, now):
    first, second = (exposed(VIEWS[name], *exposure) for exposure in (before, now))
    assert reasons_of([first, second, second, second], min_interval_s=0.0) == ["first", "", "", ""]


@given(
    name=st.sampled_from(sorted(VIEWS)),
    blue=st.floats(0.85, 1.15),
    red=st.floats(0.85, 1.15),
    gain=st.floats(0.8, 1.2),
)
def test_any_white_balance_of_a_view_is_the_same_view(name, blue, red, gain):
    second = exposed(VIEWS[name], gain=gain, balance=(blue, 1.0, red))
    assert reasons_of([VIEWS[name], second, second, second], min_interval_s=0.0) == [
        "first",
        "",
        "",
        "",
    ]
