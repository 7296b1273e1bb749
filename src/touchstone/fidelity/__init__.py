"""Evidence that the models are right: measured on real data, checked against the literature."""
