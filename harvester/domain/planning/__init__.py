"""Which request pays, what an answer means for a task, and a forecast of the harvest."""
