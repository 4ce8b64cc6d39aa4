"""Measurements: pure functions from logits, features and labels to numbers and rows."""
