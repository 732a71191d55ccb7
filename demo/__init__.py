"""``make demo``: a recording, the node, and a consumer, in three processes over DDS."""
