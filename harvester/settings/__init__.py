"""Settings: what they are, where they come from, and what fits the machine."""
