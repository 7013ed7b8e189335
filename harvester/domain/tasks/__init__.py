"""What a task is: its id and state, what an answer about it says, and its result."""
