"""Offline analysis of whole recordings, with the keyframes, tracking and sweep of the live node.

A replay computes one journal of scenes (``scenes.jsonl``). Every other output (a bag, a page,
datasets) is made from the journal and the recording, and can be made again at no cost.
"""

INSTALL = (
    "python -m pip install 'rosbags>=0.11' 'mcap>=1.2.1' 'filelock>=3.13' 'pycocotools>=2.0.7'"
)
