"""State in PostgreSQL: the only place that knows SQLAlchemy, psycopg2 and the tables."""
