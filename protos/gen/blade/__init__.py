"""Generated from protos/blade/v1 by `make generate`; do not edit."""
