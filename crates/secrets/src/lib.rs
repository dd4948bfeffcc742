//! Master key, envelope encryption, password hashing and verifiers, certificate authority.
