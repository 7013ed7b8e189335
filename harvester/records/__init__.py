"""The common record of exports and destinations: its Arrow schema, and the files that hold it."""
