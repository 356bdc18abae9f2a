"""Steps from an older read model to today's, run by `pipeline.store.database.open_database`."""
