"""Values and decisions about tasks. No I/O, no clock, no randomness of its own."""
