"""Heads of image classification."""
