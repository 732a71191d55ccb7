"""Weights on disk: what there is, where it comes from, and whether it is whole."""
