"""The results folder: Arrow schemas, Parquet parts, the DuckDB catalogue, the SQL of sql/."""
