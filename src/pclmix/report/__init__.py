"""The report of an experiment, from its results folder alone: no training, no model."""
