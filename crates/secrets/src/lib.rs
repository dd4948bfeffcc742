//! Everything that hides, proves or signs: the master key and what it seals, password hashes, random credentials,
//! signatures, and the installation's certificate authority.
//!
//! Hashing a password takes tens of milliseconds on purpose: call [`hash_password`] and [`verify_password`] on a thread
//! that may block.

mod authority;
mod master_key;
mod password;
mod random;
mod signature;

pub use authority::{AuthorityError, CertificateAuthority, ServerCertificate, ServerName, expiry};
pub use master_key::{MasterKey, MasterKeyError, OpenError, SealError};
pub use password::{HashError, hash_password, verify_password};
pub use random::{
    NoRandomness, alphanumeric, credential_password, random_access_key, random_bits, random_bytes, random_password, random_secret_key,
    random_token,
};
pub use secrecy::{ExposeSecret, SecretString};
pub use signature::{hmac_sha256_base64, same, token_digest, verify_signature};
