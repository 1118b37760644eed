"""Bodies to begin with, shown in the OpenAPI document and on the page to try it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "blade.v1.ConfigService.AddSource": {
        "name": "blade-maintenance",
        "displayName": "BLADE Maintenance Data",
        "dataType": "maintenance",
        "enabled": True,
        "config": {
            "catalog": "main",
            "schema": "blade",
            "table": "blade_maintenance_data",
            "warehouseId": "test-warehouse",
        },
    },
    "blade.v1.DestinationService.CreateDestination": {
        "name": "partner",
        "url": "https://catalog.partner.example",
        "credentials": "env:BLADE_SECRET_PARTNER",
        "ceiling": "CUI",
    },
    "blade.v1.JobService.StartQueryJob": {"sql": "SELECT * FROM maintenance WHERE priority = 'HIGH'"},
    "blade.v1.SyncService.CreateSync": {
        "name": "maintenance",
        "spec": {"source": "blade-maintenance", "schedule": {"cron": "30 2 * * *", "timeZone": "UTC"}},
    },
    "blade.v1.JobService.PreviewItems": {"sql": "SELECT * FROM maintenance", "limit": 10},
}
"""By method."""
