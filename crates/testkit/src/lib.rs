//! The whole control plane in one process, with fakes.
