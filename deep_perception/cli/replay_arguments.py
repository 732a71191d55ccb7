"""The arguments of ``deep_perception replay``, without an import of the analysis."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from deep_perception.settings.presets import PRESETS

EXPORTS = ("coco", "yolo", "yolo-seg", "pairs")
DESCRIPTION = """\
Analyse whole recordings (rosbag2 with mcap or sqlite3, single .mcap and .db3 files, ROS 1 .bag)
like the live node, with the same keyframes, tracks and descriptions, but without ROS. DIR/<name>/
receives scenes.jsonl (docs/scenes.md), report.html, bag/ (for Foxglove and ros2 bag play) and
summary.json of each recording. --export writes datasets of all recordings into DIR
(docs/datasets.md).

The same recording and settings give the same bytes. To that end, the descriptions of chat, dam and
your own describers are cached in describer.cache_file, by default
~/.cache/deep_perception/words.sqlite (XDG_CACHE_HOME); those of your own describer until the file
of its class changes. describer.cache_size 0 disables the cache.
The same command resumes an interrupted replay, also after kill -9. Finished recordings are not
analysed again."""
MOMENT = "seconds from the recording's start (12.5), UNIX time (@1767225600.5) or ISO 8601"


def add_replay_command(commands: Any) -> argparse.ArgumentParser:
    """Add `replay` to the commands; the caller adds the settings."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "replay",
        allow_abbrev=False,
        usage="%(prog)s [OPTION ...] BAG [BAG ...]",
        help="analyse whole recordings (bags)",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bags", nargs="+", type=Path, metavar="BAG")
    parser.add_argument(
        "--preset", choices=PRESETS, help="the settings of one of the three original scripts"
    )
    parser.add_argument("--output", metavar="DIR", help="short for --output.folder")
    _add_choice(parser)
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--resume", action="store_true", help="resume only; an error if there is nothing to resume"
    )
    again.add_argument(
        "--overwrite",
        action="store_true",
        help="start again and replace existing outputs; leave it out to resume afterwards",
    )
    parser.add_argument(
        "--images", choices=("all", "keyframes", "none"), default="all",
        help="which of the original images the output bag contains (default all)",
    )  # fmt: skip
    parser.add_argument(
        "--export", type=_exports, default=(), metavar="NAMES",
        help=f"datasets of the described regions, separated by commas: {', '.join(EXPORTS)}; also "
        "labels.csv with the classes, to be edited",
    )  # fmt: skip
    parser.add_argument(
        "--labels", type=Path, metavar="CSV",
        help="a labels.csv with an edited column 'class', for --export",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=_count, metavar="N",
        help="number of recordings at once, each in a process that loads the models (default 1; "
        "with --ray the number of GPUs for models on GPUs, of machines for SAM2 on CPUs, or of "
        "CPUs)",
    )  # fmt: skip
    parser.add_argument(
        "--ray", metavar="ADDRESS|local", type=_address,
        help="replay on the Ray cluster at ADDRESS (HOST:PORT, or auto for that of this machine), "
        "whose machines see recordings and --output under the same path; local: on a temporary "
        "cluster of this machine",
    )  # fmt: skip
    return parser


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--topic", action="append", default=[], dest="topics", metavar="NAME",
        help="an image topic; repeat it for more. Default: all that look like cameras, and the raw "
        "one of a raw and a compressed topic",
    )  # fmt: skip
    parser.add_argument(
        "--from", type=_moment, dest="start", metavar="TIME", help=f"start at {MOMENT}"
    )
    parser.add_argument(
        "--to", type=_moment, dest="stop", metavar="TIME", help="stop before this time"
    )
    fewer = parser.add_mutually_exclusive_group()
    fewer.add_argument(
        "--every", type=_count, default=1, metavar="N", help="use every Nth frame of a topic"
    )
    fewer.add_argument(
        "--rate", type=_rate, default=0.0, metavar="HZ",
        help="use at most HZ frames of a topic a second; the keyframes among them are analysed "
        "(all of them with --keyframes.mode interval --keyframes.min_interval_s 0)",
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
                f"{name!r}: expected some of {', '.join(EXPORTS)}, separated by commas"
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
