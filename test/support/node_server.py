"""Fork analyzer nodes from a process that has imported all of their modules already.

The imports take more than a second of CPU time; a fork takes some milliseconds. Each line of the
standard input is the JSON of one node; each line of the standard output is the JSON of an event:
a node's process id, or the exit code of one that ended. A forked node leaves this module as
``python -m deep_perception.ros`` does, with all that the interpreter does at its end.
"""

import json
import os
import select
import signal
import sys
import warnings

import deep_perception.describers.attributes
import deep_perception.ros.node
import deep_perception.segmenters.superpixels


def serve():
    """Fork until the input ends; returns the request in a fork, and None in the server."""
    exits, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake)
    while True:
        ready, _, _ = select.select([sys.stdin, exits], [], [])
        if exits in ready:
            os.read(exits, 4096)
            report_exits()
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return None
            with warnings.catch_warnings():
                # Python 3.12 warns of forks beside threads; those of numpy are idle.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(exits)
                os.close(wake)
                return json.loads(line)
            report(started=pid)


def report(**event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def report_exits():
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        report(ended=pid, code=os.waitstatus_to_exitcode(status))


def become(*, arguments, log, python_path, environment):
    """Make this process what a shell would have started; returns the node's exit code."""
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdout.reconfigure(line_buffering=True)
    sys.argv[1:] = arguments
    sys.path[:0] = python_path
    return deep_perception.ros.main()


if __name__ == "__main__":
    request = serve()
    if request is not None:
        sys.exit(become(**request))
