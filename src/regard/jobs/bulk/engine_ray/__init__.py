"""Ray as the engine: actors that hold a loaded predictor do units, on one machine or on many, and may die.

address.py   RAY_ADDRESS, asked before Ray is           cluster.py   Ray joined or started, and its nodes
actor.py     what runs in a process of Ray's            queue.py     units to be done, being done, done again
driver.py    the loop that gives workers their units

The driver holds the queue of units and one call to each worker, never the results: a unit's file is written where it
was computed, and what comes back is its `Outcome`. Ray holds nothing that matters: whatever dies, units that are there
are there, and others are done again.
"""
