"""Predictions to people and programs: a sealed bundle behind HTTP, on this machine alone."""
