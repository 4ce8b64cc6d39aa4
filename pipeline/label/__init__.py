"""A teacher's view of unlabelled images: sidecars, which of them to trust, and how right they were."""
