"""Speaks HTTP: REST made from the contract, its OpenAPI document, and the job page.

It decides nothing: every call goes over a loopback channel to the gRPC server, so that limits, errors and the log
are the same for both. What it does itself is to sign browsers in and out.
"""
