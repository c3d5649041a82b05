"""Labels that are drawn: outlines, boxes and masks of objects as labelling tools write them, a module for each way."""
