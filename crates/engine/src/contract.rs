//! What every engine must do, as tests against a real server.
