"""iteration.py by its first name, for programs that import it."""

from recolor_fast.step.iteration import Step, learning_rate, step_seed

__all__ = ["Step", "learning_rate", "step_seed"]
