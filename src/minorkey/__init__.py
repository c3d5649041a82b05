"""minorkey."""
