"""A stand-in for the TwelveLabs API on a real socket: for rehearsals without quota, and for the tests."""

from harvester.simulator.clock import SimulatorClock
from harvester.simulator.faults import Fault
from harvester.simulator.server import Simulator
from harvester.simulator.settings import SimulatorSettings

__all__ = ["Fault", "Simulator", "SimulatorClock", "SimulatorSettings"]
