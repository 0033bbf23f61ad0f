"""Photographs through an artefact: one, or folders of them."""
