"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# How long a property takes to draw its examples says something about the machine, not about the program.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
