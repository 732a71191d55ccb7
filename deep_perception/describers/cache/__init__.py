"""Descriptions that were made before, in memory and in a file."""
