"""What a task is and what to do about it: values and decisions, no I/O, no clock, no randomness of its own."""
