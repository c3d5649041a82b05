"""Runs side by side: tables, figures and one self-contained page."""
