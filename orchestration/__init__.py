"""The way of the data, stage by stage: pull, warehouse, gate, release, and what starts and watches them."""

import os

os.umask(0o077)  # what the product writes is its owner's alone
