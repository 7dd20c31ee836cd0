"""What the notebooks and the report need: parameters, tables, figures."""
