"""Networks: encoders, what stands on them, what follows them, and how they are kept on disk."""
