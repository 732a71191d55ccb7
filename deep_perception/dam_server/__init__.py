"""The server of the Describe Anything Model (DAM), in a Python environment of its own.

DAM's code needs an older transformers than SAM2, so the describer ``dam`` sends its requests to
this process over HTTP. The rest of deep_perception is not installed in its environment: these
modules import the standard library, numpy, Pillow, torch, transformers and aiohttp, and of this
package its version, ``redaction``, ``untrusted``, and each other.
"""
