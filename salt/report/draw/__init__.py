"""Pictures of the numbers; what is drawn is computed elsewhere."""
