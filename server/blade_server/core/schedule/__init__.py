"""When a sync is due: what a schedule may say, and the times that follow from it. Knows no clock and no PostgreSQL."""
