//! What every host must do, as tests that any implementation can run.
