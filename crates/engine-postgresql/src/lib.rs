//! PostgreSQL described: layout, jobs, administration.
