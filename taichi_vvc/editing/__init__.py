"""Joining files and cutting pieces out of them, without fitting anything again."""
