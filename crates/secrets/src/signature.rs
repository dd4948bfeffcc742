//! Signatures and digests of credentials.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// HMAC-SHA256 of a message in base64, as the Samsung Cloud Platform signs requests.
pub fn hmac_sha256_base64(key: &[u8], message: &[u8]) -> String {
    // A key longer than a block is hashed first, a shorter one padded; no length is refused.
    let mut block = Zeroizing::new([0_u8; 64]);
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    mac.update(message);
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Whether this is the signature of the message; how long the answer takes does not tell where it differs.
pub fn verify_signature(key: &[u8], message: &[u8], signature: &str) -> bool {
    same(&hmac_sha256_base64(key, message), signature)
}

/// Whether two texts are equal; how long the answer takes does not tell where they differ.
pub fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// What is kept of a token: SHA-256 in hexadecimal. Tokens are long and random, so a plain digest is enough.
pub fn token_digest(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The HMAC-SHA256 cases of RFC 4231 with a short, a block-filling and a long key.
    #[test]
    fn signatures_match_the_published_vectors() {
        let hexadecimal = |signature: &str| hex::encode(STANDARD.decode(signature).expect("base64"));
        assert_eq!(
            hexadecimal(&hmac_sha256_base64(&[0x0b; 20], b"Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            hexadecimal(&hmac_sha256_base64(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hexadecimal(&hmac_sha256_base64(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn a_signature_is_verified_with_its_own_key_and_message_only() {
        let signature = hmac_sha256_base64(b"key", b"message");
        assert!(verify_signature(b"key", b"message", &signature));
        assert!(!verify_signature(b"yek", b"message", &signature) && !verify_signature(b"key", b"massage", &signature));
        assert!(!verify_signature(b"key", b"message", "") && !verify_signature(b"key", b"message", signature.trim_end_matches('=')));
    }

    #[test]
    fn only_equal_texts_are_the_same() {
        assert!(same("abc", "abc"));
        assert!(!same("abc", "abd") && !same("abc", "ab") && !same("", "a"));
    }

    #[test]
    fn a_token_digest_is_sha256() {
        assert_eq!(token_digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
