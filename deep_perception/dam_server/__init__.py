"""The server of the Describe Anything Model (DAM), in a Python environment of its own.

DAM's code needs an older transformers than SAM2, so the describer ``dam`` asks this process over
HTTP. It runs where the rest of deep_perception is not installed: these modules import the standard
library, numpy, Pillow, torch, transformers and aiohttp, and nothing of ours but each other.
"""
