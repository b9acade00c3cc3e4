"""The training loop, told as events: schedules, precision, validation and checkpoints."""
