"""What is shown: rows and numbers in, tables and progress out.  Nothing here knows what the rows are about."""
