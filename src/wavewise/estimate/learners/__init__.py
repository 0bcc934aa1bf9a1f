"""Learners of effects beside the forest, and the stack that weighs them."""
