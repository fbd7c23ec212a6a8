"""Superset as code: configuration, access rules, assets, provisioning and serving. No figures are computed here."""
