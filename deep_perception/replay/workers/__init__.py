"""Several recordings at once: in processes, or on a Ray cluster."""
