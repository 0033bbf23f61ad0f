"""Films: one file of moving pictures to another, colored; needs the extra `video` (PyAV)."""
