"""How an adaptation to an unlabelled target went: rows, curves and pictures of the page."""
