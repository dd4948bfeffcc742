//! This machine as a host: shim, control groups, volumes, addresses.
