//! The one store: rows, units of work, migrations.
