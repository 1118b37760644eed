"""The OpenAPI 3.1 document of the REST side, made from the rules that serve it, so that it cannot say anything else."""

from blade_server.web.openapi.document import document

__all__ = ["document"]
