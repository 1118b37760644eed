"""Who did what: what the audit log is told beside the changes, which storage tells it, and how it is read."""
