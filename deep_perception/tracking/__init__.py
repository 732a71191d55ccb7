"""Multi-object tracking: which region of this keyframe is which region of the earlier ones.

``tracker`` is the entry, ``association`` handles one keyframe, ``matching`` scores and assigns
pairs, ``appearance`` and ``motion`` measure what they compare, and ``track`` holds what is kept.
"""
