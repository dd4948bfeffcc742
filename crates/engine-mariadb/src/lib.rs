//! MariaDB described: layout, jobs, administration.
