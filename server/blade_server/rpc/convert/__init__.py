"""Protobuf to model (`..._from`) and back (`..._message`), field by field.

Nothing is decided here, and only what has no counterpart is refused.
"""
