"""What is counted and measured, for whoever watches a server: docs/operations.md, "Watching it", lists it.

It is recorded where it happens, once for a call, a statement, a request or a batch, and never for a single item: that
costs a few microseconds. Labels are of a few values: methods, statuses, reasons, and the names of what is configured
(sources, destinations, syncs); never the id of a job or an item, a principal, or SQL.
"""
