"""Speaks gRPC: every handler converts the request, calls core in a thread, and converts the answer back."""
