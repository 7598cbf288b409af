"""Importers: each brings one layout into our dataset folder and leaves nothing half made."""
