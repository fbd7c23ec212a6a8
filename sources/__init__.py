"""Getting data in: the catalogue of systems, the connectors, and landing."""
