"""Which region of this keyframe is which of the last."""
