"""REST from the contract: google.api.http options in, gRPC calls out. Of BLADE it knows one small table only."""

from blade_server.web.transcoder.transcoder import Transcoder

__all__ = ["Transcoder"]
