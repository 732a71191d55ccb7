"""Groups of tests (GROUPS below) are skipped, with the reason, if they cannot run.

DEEP_PERCEPTION_REQUIRE=ros,colcon,hub turns each such skip into a failure, and fails a run without
a test of one of these groups. `files` in that list fails a run that leaves out a whole test file.
"""

import importlib
import os
import shutil
import signal
import socket
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

from deep_perception import redaction

pytest.register_assert_rewrite("support")

REQUIRED = {name for name in os.environ.get("DEEP_PERCEPTION_REQUIRE", "").split(",") if name}
TESTS = Path(__file__).parent
ROS_TESTS = (TESTS / "ros", TESTS / "faults")
# Folders with files that are skipped as a whole where an import of theirs is missing.
FOLDERS = {"ros": ROS_TESTS, "sam2": (TESTS / "segmenters" / "sam2",)}
# The Python of the DAM server's environment, whose transformers clash with those of the tests.
DAM_PYTHON = os.environ.get("DEEP_PERCEPTION_DAM_PYTHON", "")
HINT = "run with: tools/with_ros python -m pytest"
GROUPS = ("ros", "colcon", "hub", "chat", "sam2", "serve", "dam", "browser", "ray")
HINTS = {
    "browser": "run with: make test-browser",
    "ray": "run with: make test-ray",
    "sam2": "run with: make test-sam2",
    "serve": "run with: make test-sam2",
}
BROWSER = ("chromium", "chromedriver")
# An attribute is checked too, because the folder deep_perception_msgs/ imports as a namespace.
NEEDED = {
    "ros": (("rclpy", "init"), ("deep_perception_msgs.msg", "RegionMask")),
    "hub": (("huggingface_hub", "__version__"),),
    "chat": (("openai", "__version__"),),
    "sam2": (("torch", "__version__"), ("transformers", "__version__")),
    "browser": (("selenium.webdriver", "Chrome"),),
    "ray": (("ray", "init"),),
    "serve": (("transformers", "__version__"), ("fastapi", "FastAPI"), ("uvicorn", "run")),
}
# Speed is measured in benchmarks/. A slow moment of the machine must not fail a test.
# The usual profile finds the same in every run; `make test-faults` selects `long`, which searches.
settings.register_profile("short", deadline=None, derandomize=True)
settings.register_profile("long", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile("short")
# A background job of a shell ignores SIGINT, and every process that a test starts inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
groups_that_ran = Counter()
reported_files = set()


def why_not(group):
    """Return the reason why a group cannot run here, or an empty text."""
    if group == "colcon" and not shutil.which("colcon"):
        return f"there is no colcon; {HINT}"
    if group == "dam" and not Path(DAM_PYTHON).is_file():
        return f"DEEP_PERCEPTION_DAM_PYTHON is {DAM_PYTHON or 'not set'}; run with: make test-dam"
    if group == "browser" and (absent := [name for name in BROWSER if not shutil.which(name)]):
        return f"there is no {' and no '.join(absent)}; apt-get install chromium chromium-driver"
    for module, name in NEEDED.get(group, ()):
        try:
            getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            return f"{error}; {HINTS.get(group, HINT)}"
    return ""


MISSING = {group: reason for group in GROUPS if (reason := why_not(group))}


def groups(item):
    return [group for group in GROUPS if item.get_closest_marker(group)]


def required_groups(item):
    if item.get_closest_marker("by_hand"):
        return []
    return [group for group in groups(item) if group in REQUIRED]


# -- a ROS domain for this process alone ------------------------------------------------------


def free_domain():
    """Return a domain id from 1 to 100 and the socket that reserves it.

    A bound port marks a domain as taken, as in ros-domain-coordinator. The process id only spreads
    the searches of several processes, such as the workers of pytest-xdist.
    """
    for step in range(100):
        domain = (os.getpid() + step) % 100 + 1
        keeper = socket.socket()
        try:
            keeper.bind(("", 32768 + domain))
        except OSError:
            keeper.close()
        else:
            return domain, keeper
    raise pytest.UsageError("no free ROS domain id: all of 1 to 100 are taken")


def pytest_addoption(parser):
    group = parser.getgroup("faults", "random faults around a running node (test/faults)")
    group.addoption(
        "--fault-seed", type=int, default=1, help="the same seed makes the same faults (1)"
    )
    group.addoption("--fault-steps", type=int, default=8, help="the number of faults (8)")
    group.addoption(
        "--fault-minutes", type=float, default=8.0, help="no new fault after this time (8)"
    )
    group.addoption(
        "--fault-only", default="", help="only these faults: numbers of steps or names, with commas"
    )


def pytest_configure(config):
    domain, config.domain_keeper = free_domain()
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


def pytest_unconfigure(config):
    if hasattr(config, "domain_keeper"):
        config.domain_keeper.close()


def pytest_report_header():
    ros = os.environ.get("ROS_DISTRO", "none")
    lines = [f"ROS: {ros}, domain {os.environ['ROS_DOMAIN_ID']}"]
    return lines + [f"{group} tests cannot run: {reason}" for group, reason in MISSING.items()]


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests():
    """Forget the secrets of a test, which are words that others may contain."""
    yield
    redaction.forget_all()


# -- groups that cannot run --------------------------------------------------------------------


class CannotRun(pytest.File):
    """A stand-in for a file of ROS_TESTS, which cannot be imported without ROS."""

    def collect(self):
        item = CannotRunItem.from_parent(self, name="all_of_it")
        item.add_marker("ros")
        yield item


class CannotRunItem(pytest.Item):
    def runtest(self):
        raise AssertionError("unreachable: skipped at set-up")

    def reportinfo(self):
        return self.path, 0, self.name


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path, parent):
    if "ros" in MISSING and not set(ROS_TESTS).isdisjoint(module_path.parents):
        return CannotRun.from_parent(parent, path=module_path)
    return None


def pytest_runtest_setup(item):
    for group in groups(item):
        if group in MISSING:
            pytest.skip(MISSING[group])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    # Workers of pytest-xdist send their reports, with all attributes, to the process that counts.
    report.required_groups = required_groups(item)
    if report.skipped and report.required_groups and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        required = ", ".join(report.required_groups)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: required ({required}) but {reason}"


def pytest_runtest_logreport(report):
    reported_files.add(report.nodeid.partition("::")[0])
    if report.when == "call":
        groups_that_ran.update(getattr(report, "required_groups", ()))


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    report = (yield).get_result()
    for group, folders in FOLDERS.items():
        inside = not set(folders).isdisjoint(collector.path.parents)
        if report.skipped and group in REQUIRED and inside:
            report.outcome = "failed"
            report.longrepr = f"{collector.nodeid}: required ({group}) but {report.longrepr}"


def pytest_collectreport(report):
    if report.skipped:  # a whole file, whose imports are missing here
        reported_files.add(report.nodeid)


def absences():
    """Return what was required and did not run."""
    for group in sorted(REQUIRED - {"files"} - set(groups_that_ran)):
        yield f"no test of the required group `{group}` ran"
    if "files" in REQUIRED:
        files = {path.relative_to(TESTS.parent).as_posix() for path in TESTS.rglob("test_*.py")}
        for name in sorted(files - reported_files):
            yield f"no test of {name} ran"


def pytest_sessionfinish(session, exitstatus):
    is_worker = hasattr(session.config, "workerinput")
    if not is_worker and exitstatus == pytest.ExitCode.OK and any(absences()):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        session.config.absences = list(absences())


def pytest_terminal_summary(terminalreporter, config):
    for absence in getattr(config, "absences", []):
        terminalreporter.write_line(f"FAILED: {absence}", red=True)
