"""Measured claims: one file a claim, each against a baseline in the same run."""
