//! Client commands over the native API.
