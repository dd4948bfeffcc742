//! Durable operations: claim, lease, lock, retry, deadline, cancel.
