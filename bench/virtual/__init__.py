"""A harvest on virtual time: the real scheduler, pipeline, throttle and SQL, against a model of the API in one thread.

A day passes in seconds, and the same seed gives the same day. It leaves out sockets, worker processes and
the writer's thread; `bench/day_of_life.py` and the tests have those.
"""

from bench.virtual.api import ModelApi, Quirks, Submission, Trouble, draw_submissions
from bench.virtual.harvest import Report, Setup, run_harvest
from bench.virtual.loop import START_MS, VirtualClock, VirtualLoop, run_virtually
from bench.virtual.store import InlineStore

__all__ = [
    "START_MS",
    "InlineStore",
    "ModelApi",
    "Quirks",
    "Report",
    "Setup",
    "Submission",
    "Trouble",
    "VirtualClock",
    "VirtualLoop",
    "draw_submissions",
    "run_harvest",
    "run_virtually",
]
