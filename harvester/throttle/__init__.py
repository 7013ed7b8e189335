"""Permits at run time: how many requests may be under way, and how much memory they may take."""
