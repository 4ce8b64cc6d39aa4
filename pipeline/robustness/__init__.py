"""What is left of a classifier's accuracy when images change: corruptions, perturbations, attacks, natural shifts."""
