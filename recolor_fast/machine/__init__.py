"""The machine below: files, signals, memory, processors, downloads; no photographs."""
