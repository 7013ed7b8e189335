"""Version 1 of the API: video embedding tasks, `/embed/tasks`."""
