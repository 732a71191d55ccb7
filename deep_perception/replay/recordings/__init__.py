"""Recordings: their files, the choice of their frames, and the images of the chosen frames."""
