"""The JSON schema of an answer.

It is flat and bounded, so that small models follow it and its grammar stays small.
"""

from __future__ import annotations

from typing import Any

LABEL_LENGTH, TEXT_LENGTH, VALUE_LENGTH = 60, 600, 120

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "label": {"type": "string", "maxLength": LABEL_LENGTH},
        "caption": {"type": "string", "maxLength": 160},
        "category": {
            "type": "string",
            "enum": ["person", "animal", "plant", "food", "furniture", "appliance", "electronics",
                     "tool", "container", "clothing", "vehicle", "building", "surface", "sign",
                     "toy", "other", "unknown"],
        },
        "attributes": {
            "type": "array", "items": {"type": "string", "maxLength": 24}, "maxItems": 6,
        },
        "color": {"type": "string", "maxLength": 24},
        "material": {
            "type": "string",
            "enum": ["wood", "metal", "plastic", "glass", "ceramic", "paper", "fabric", "leather",
                     "rubber", "stone", "organic", "liquid", "mixed", "unknown"],
        },
        "state": {"type": "array", "items": {"type": "string", "maxLength": 24}, "maxItems": 4},
        "affordances": {
            "type": "array",
            "items": {"enum": ["grasp", "push", "pull", "open", "close", "press", "pour", "fill",
                               "sit", "stand_on", "drive_on", "avoid", "read", "none"]},
            "maxItems": 4,
        },
        "confidence": {"type": "string", "enum": ["high", "medium", "low"]},
    },
    "required": ["label", "caption", "category", "attributes", "color", "material", "state",
                 "affordances", "confidence"],
}  # fmt: skip
DETAILS = ("category", "attributes", "color", "material", "state", "affordances", "confidence")
