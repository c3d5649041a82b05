"""Colours and style that pages and figures share."""
