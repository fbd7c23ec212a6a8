"""The way of the data, stage by stage: pull, warehouse, gate, release, and what starts and watches them."""
