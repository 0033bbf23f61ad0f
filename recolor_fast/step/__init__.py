"""One iteration of the pair generator and critic."""
