"""``make demo``: a player of a recording, the node and a receiver, connected over DDS."""
