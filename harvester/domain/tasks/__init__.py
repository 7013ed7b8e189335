"""Tasks: their ids and states, the meaning of answers about them, and their results."""
