//! The data plane: endpoints, allow-lists, TLS.
