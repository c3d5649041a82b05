"""From predictions to scores: sliding windows, confusion matrices, intervals, the protocol."""
