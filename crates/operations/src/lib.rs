//! One file, one operation.
