"""Whole recordings, offline: the same keyframes, identity, sweep and words as the live node.

One journal of scenes (``scenes.jsonl``) is all that is computed; every other output (a bag, a page,
datasets) is made from it and the recording, and can be made again at no cost.
"""

INSTALL = (
    "python -m pip install 'rosbags>=0.11' 'mcap>=1.2.1' 'filelock>=3.13' 'pycocotools>=2.0.7'"
)
