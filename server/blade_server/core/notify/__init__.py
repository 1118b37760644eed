"""Tells others what happens to syncs: receivers as callers set them up, and what is sent to them."""
