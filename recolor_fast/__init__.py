"""recolor_fast: a fast, correct trainer of GAN image colorizers. Run a verb: python -m recolor_fast.VERB."""
