"""Real servers to try BLADE against, on one machine: a Databricks SQL warehouse, a catalog, and BLADE between them.

    cli  demo  pytest_plugin          `blade sandbox`, `blade demo`, fixtures for everybody's tests
           |         |
       demo_sync     |                its step about a sync
      |    |         |
    guide  check  demo_progress       what to try; the catalog compared with the warehouse; a job's bar
      |    |         |
    sandbox          |                the three servers together
    server_process   |                one of them as a process
    leash            |                which ends with whoever started it
      :    :         |
    warehouse  catalog                the servers themselves, each with a picture of its rooms

Imports point down only. Beside them stand `data` (sample tables), `scratch` (a temp folder) and `interrupt` (Ctrl+C).
Nothing here imports `blade_server`: it is met on the wire, as a process.
"""
