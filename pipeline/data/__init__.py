"""From a source of images to shards, and from shards to tensors. Imports nothing of nets, methods or engine."""
