"""BLADE: rows of a Databricks SQL warehouse into an HTTP catalog, under durable jobs.

    __main__, app, settings          1  wires, starts, stops
    rpc         web                  2  translates: gRPC; REST and the pages
         core                        3  decides: jobs, direct calls, the engine, sources, SQL, the transform
    warehouse   catalog   storage    4  reaches out: Databricks, the HTTP catalog, PostgreSQL
    errors > arrow > model           5  plain data

Imports point down only. docs/architecture.md names every file and what each room gives to those above it.
"""
