"""Labelled chest CTs for training: their table, their volumes on one grid, and augmented slices."""
