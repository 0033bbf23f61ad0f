"""A local page to color photographs with, and an HTTP API: `recolor-fast serve`."""
