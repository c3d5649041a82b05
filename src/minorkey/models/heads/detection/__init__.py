"""Heads that find boxes."""
