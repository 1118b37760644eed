"""Sources, destinations, notifications and syncs as files: read, compared with the server, applied and exported."""
