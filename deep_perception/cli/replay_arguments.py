"""The arguments of ``deep_perception replay``; nothing that analyses is imported for them."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from deep_perception.settings.presets import PRESETS

EXPORTS = ("coco", "yolo", "yolo-seg", "pairs")
DESCRIPTION = """\
Analyse whole recordings (rosbag2 with mcap or sqlite3, single .mcap and .db3 files, ROS 1 .bag)
with the keyframes, identity and words of the live node, without ROS. For each of them DIR/<name>/
gets scenes.jsonl (docs/scenes.md), report.html, bag/ (for Foxglove and ros2 bag play) and
summary.json. --export makes datasets of all of them together in DIR (docs/datasets.md).

The same recording and settings give the same bytes. The words of chat, dam and describers of your
own are remembered for that in describer.cache_file, here by default
~/.cache/deep_perception/words.sqlite (XDG_CACHE_HOME); of your own until the file of the class
changes. describer.cache_size 0 remembers none.
What was interrupted, by kill -9 too, goes on with the same command. What is finished is not
analysed again."""
MOMENT = "seconds from the recording's start (12.5), UNIX time (@1767225600.5) or ISO 8601"


def add_replay_command(commands: Any) -> argparse.ArgumentParser:
    """Add `replay` to the commands; its settings are the caller's to add."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "replay",
        allow_abbrev=False,
        usage="%(prog)s [OPTION ...] BAG [BAG ...]",
        help="analyse whole recordings (bags)",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bags", nargs="+", type=Path, metavar="BAG")
    parser.add_argument("--preset", choices=PRESETS, help="settings of one of the old scripts")
    parser.add_argument("--output", metavar="DIR", help="short for --output.folder")
    _add_choice(parser)
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--resume", action="store_true", help="go on only; an error where nothing is to go on with"
    )
    again.add_argument(
        "--overwrite",
        action="store_true",
        help="begin anew whatever is there; after an interruption leave it out to go on",
    )
    parser.add_argument(
        "--images", choices=("all", "keyframes", "none"), default="all",
        help="which of the original images the output bag has too (default all)",
    )  # fmt: skip
    parser.add_argument(
        "--export", type=_exports, default=(), metavar="NAMES",
        help=f"datasets of the regions with words, by commas: {', '.join(EXPORTS)}; and labels.csv "
        "with the classes, to be edited",
    )  # fmt: skip
    parser.add_argument(
        "--labels", type=Path, metavar="CSV",
        help="a labels.csv whose column 'class' somebody edited, for --export",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=_count, metavar="N",
        help="so many recordings at once, each in a process that loads the models (default 1; with "
        "--ray as many as the cluster has GPUs for models that run on one, machines for SAM2 "
        "without, else CPUs)",
    )  # fmt: skip
    parser.add_argument(
        "--ray", metavar="ADDRESS|local", type=_address,
        help="many recordings on the Ray cluster at ADDRESS (HOST:PORT, or auto for the one that "
        "this machine is in), whose machines see recordings and --output under the same path; "
        "local: one that is begun on this machine and ended again",
    )  # fmt: skip
    return parser


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--topic", action="append", default=[], dest="topics", metavar="NAME",
        help="an image topic, again for more; default: all that look like cameras, the raw one "
        "where there is a compressed one too",
    )  # fmt: skip
    parser.add_argument(
        "--from", type=_moment, dest="start", metavar="TIME", help=f"first moment: {MOMENT}"
    )
    parser.add_argument(
        "--to", type=_moment, dest="stop", metavar="TIME", help="first moment not any more"
    )
    fewer = parser.add_mutually_exclusive_group()
    fewer.add_argument(
        "--every", type=_count, default=1, metavar="N", help="look at every Nth frame of a topic"
    )
    fewer.add_argument(
        "--rate", type=_rate, default=0.0, metavar="HZ",
        help="look at so many frames of a topic a second, at most; of those that are looked at the "
        "keyframes are analysed (all of them with --keyframes.mode interval "
        "--keyframes.min_interval_s 0)",
    )  # fmt: skip


def _moment(text: str) -> object:
    from deep_perception.replay.recordings.choice import Moment

    try:
        return Moment.read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _address(text: str) -> str:
    if text not in ("local", "auto") and not re.fullmatch(r"[^\s/]+:\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected HOST:PORT, auto or local")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1")
    return int(text)


def _exports(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in EXPORTS:
            raise argparse.ArgumentTypeError(
                f"{name!r}: expected some of {', '.join(EXPORTS)}, parted by commas"
            )
    return names


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of frames above 0")
    return rate
