"""recolor_fast: a fast, correct trainer of GAN image colourisers. Run a verb: python -m recolor_fast.VERB."""
