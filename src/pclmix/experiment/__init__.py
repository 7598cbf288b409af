"""Experiments: folds x methods x seeds from one file (spec), as independent jobs (plan, job), run by a runner."""
