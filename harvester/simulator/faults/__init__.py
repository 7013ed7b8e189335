"""Misbehaviour on demand and by schedule: the faults of `docs/faults.md` that a server can cause."""

from harvester.simulator.faults.model import Fault
from harvester.simulator.faults.schedule import FaultSchedule

__all__ = ["Fault", "FaultSchedule"]
