"""What is predicted: losses of a task and how its output is read."""
