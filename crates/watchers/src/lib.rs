//! Periodic observers without input.
