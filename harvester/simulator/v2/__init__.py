"""Version 2 of the API: tasks of every medium, `/embed-v2/tasks`, and queries, `/embed-v2`."""
