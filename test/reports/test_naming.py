"""Unique names, also for thousands of files of one name."""

import sys
from pathlib import Path

from deep_perception.reports.naming import unique_names


def test_equal_names_are_numbered_and_taken_ones_are_not_used():
    stems = {"a/cup.png": "cup", "b/cup.jpg": "cup", "cup_2.png": "cup_2", "c/cup": "cup"}
    names = unique_names({Path(path): stem for path, stem in stems.items()}, {"cup_3"})
    assert list(names.values()) == ["cup", "cup_2", "cup_2_2", "cup_4"]


def steps(function, *arguments):
    """How many lines a function executes, which does not depend on the machine's load."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return count


def test_the_work_grows_with_the_number_of_files_and_no_faster():
    few, many = ({Path(f"{n}/rgb.png"): "rgb" for n in range(size)} for size in (500, 2000))
    assert steps(unique_names, many) < 6 * steps(unique_names, few)
    names = unique_names(many)
    assert len(set(names.values())) == 2000
