"""The gate: Great Expectations over arriving batches and over the candidate of a release.

``suites/*.yml`` say what is expected; ``gate`` judges and is all that other packages call. Row rules (the catalogue), dbt tests
(keys and relations of what we build) and repairs of data do not belong here.
"""

import os

# Great Expectations reports its use to its maker unless told otherwise before it is imported.
os.environ["GX_ANALYTICS_ENABLED"] = "false"
