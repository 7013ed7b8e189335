"""Which request is worth making, what an answer means for a task, and a forecast of the rest."""
