//! Use cases: the one door.
