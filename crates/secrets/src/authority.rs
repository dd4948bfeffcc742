//! The certificate authority of an installation and the server certificates it issues.

use moorage_domain::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use secrecy::{ExposeSecret, SecretString};
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::pem::parse_x509_pem;
use zeroize::Zeroizing;

use crate::master_key::{MasterKey, OpenError, SealError};
use crate::random::{NoRandomness, random_bytes};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Ten years.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(3653 * DAY.as_secs());
/// Thirteen months; clients with rules for public certificates accept no more than 398 days.
const SERVER_LIFETIME: Duration = Duration::from_secs(396 * DAY.as_secs());
/// Certificates are valid from a little earlier, for clients whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(60 * 60);
/// The place the authority's key is sealed for.
const KEY_CONTEXT: &str = "certificate-authority-key";

/// A certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// No serial number.
    #[error("no random bytes for a certificate")]
    Random(#[from] NoRandomness),
    /// Making it failed.
    #[error("cannot {doing}")]
    Make {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: rcgen::Error,
    },
    /// A name cannot stand in a certificate.
    #[error("'{0}' is not a name a certificate can carry")]
    Name(String),
    /// A certificate without names would be for nobody.
    #[error("a server certificate needs at least one address or name")]
    NoName,
    /// The authority's key does not open.
    #[error("the key of the certificate authority does not open")]
    Open(#[from] OpenError),
    /// The authority's key cannot be sealed.
    #[error("the key of the certificate authority cannot be sealed")]
    Seal(#[from] SealError),
    /// The certificate and the key do not belong together.
    #[error("the certificate and the key of the certificate authority do not belong together")]
    Mismatch,
    /// It cannot be read.
    #[error("a certificate cannot be read: {0}")]
    Unreadable(String),
}

/// What a server is called by its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerName {
    /// By address.
    Address(IpAddr),
    /// By name.
    Dns(String),
}

/// A certificate with its key, ready for a server.
pub struct ServerCertificate {
    /// The certificate in PEM.
    pub certificate: String,
    /// Its private key in PEM (PKCS#8).
    pub key: SecretString,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerCertificate").field("expires_at", &self.expires_at.rfc3339()).finish_non_exhaustive()
    }
}

/// The authority that signs the certificates of one installation; clients trust its certificate.
pub struct CertificateAuthority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertificateAuthority(key hidden)")
    }
}

impl CertificateAuthority {
    /// Makes a new authority. `installation` is eight hexadecimal digits that tell installations apart.
    pub fn create(installation: &str, now: Timestamp) -> Result<Self, AuthorityError> {
        let key = new_key()?;
        let mut params = params(now, AUTHORITY_LIFETIME)?;
        params.distinguished_name.push(DnType::CommonName, format!("Moorage installation {installation} authority"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate =
            params.self_signed(&key).map_err(|source| AuthorityError::Make { doing: "make the certificate authority", source })?;
        Ok(Self { certificate: certificate.pem(), issuer: Issuer::new(params, key) })
    }

    /// Reads an authority from its certificate and its sealed key.
    pub fn load(certificate: &str, sealed_key: &str, master_key: &MasterKey) -> Result<Self, AuthorityError> {
        let unreadable = |source| AuthorityError::Make { doing: "read the certificate authority", source };
        let pem = master_key.open_text(sealed_key, KEY_CONTEXT)?;
        let key = KeyPair::from_pem(pem.expose_secret()).map_err(unreadable)?;
        let (_, document) = parse_x509_pem(certificate.as_bytes()).map_err(|error| AuthorityError::Unreadable(error.to_string()))?;
        let parsed = document.parse_x509().map_err(|error| AuthorityError::Unreadable(error.to_string()))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(AuthorityError::Mismatch);
        }
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(unreadable)?;
        Ok(Self { certificate: certificate.to_owned(), issuer })
    }

    /// The certificate that clients trust, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The key, sealed for the store.
    pub fn sealed_key(&self, master_key: &MasterKey) -> Result<String, AuthorityError> {
        let pem = Zeroizing::new(self.issuer.key().serialize_pem());
        Ok(master_key.seal(pem.as_bytes(), KEY_CONTEXT)?)
    }

    /// Issues a certificate, with a new key, for a server that is called by these names.
    pub fn issue(&self, names: &[ServerName], now: Timestamp) -> Result<ServerCertificate, AuthorityError> {
        let key = new_key()?;
        let mut params = params(now, SERVER_LIFETIME)?;
        let first = match names.first().ok_or(AuthorityError::NoName)? {
            ServerName::Address(address) => address.to_string(),
            ServerName::Dns(name) => name.clone(),
        };
        // X.509 limits a common name to 64 characters; clients look at the alternative names anyway.
        if first.chars().count() <= 64 {
            params.distinguished_name.push(DnType::CommonName, first);
        }
        params.subject_alt_names = names.iter().map(alternative_name).collect::<Result<_, _>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(|source| AuthorityError::Make { doing: "sign a server certificate", source })?
            .pem();
        let expires_at = expiry(&certificate)?;
        Ok(ServerCertificate { certificate, key: SecretString::from(key.serialize_pem()), expires_at })
    }
}

/// When a certificate (the first of a PEM text) ends.
pub fn expiry(certificate: &str) -> Result<Timestamp, AuthorityError> {
    let unreadable = |reason: String| AuthorityError::Unreadable(reason);
    let (_, document) = parse_x509_pem(certificate.as_bytes()).map_err(|error| unreadable(error.to_string()))?;
    let parsed = document.parse_x509().map_err(|error| unreadable(error.to_string()))?;
    Ok(Timestamp(parsed.validity().not_after.timestamp().saturating_mul(1_000_000)))
}

fn new_key() -> Result<KeyPair, AuthorityError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|source| AuthorityError::Make { doing: "make a key", source })
}

fn params(now: Timestamp, lifetime: Duration) -> Result<CertificateParams, AuthorityError> {
    let begin = UNIX_EPOCH + Duration::from_micros(u64::try_from(now.0).unwrap_or(0));
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = begin.checked_sub(BACKDATED).unwrap_or(UNIX_EPOCH).into();
    params.not_after = SystemTime::into(begin + lifetime);
    let mut serial: [u8; 16] = random_bytes()?;
    // A serial number is positive and at most 20 bytes long.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn alternative_name(name: &ServerName) -> Result<SanType, AuthorityError> {
    match name {
        ServerName::Address(address) => Ok(SanType::IpAddress(*address)),
        ServerName::Dns(name) => {
            let usable = rustls_pki_types::DnsName::try_from(name.as_str()).is_ok();
            let text = name.clone().try_into().ok().filter(|_| usable);
            text.map(SanType::DnsName).ok_or_else(|| AuthorityError::Name(name.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

    fn names() -> Vec<ServerName> {
        vec![ServerName::Address([127, 64, 0, 10].into()), ServerName::Dns("db.example.org".into())]
    }

    fn openssl(directory: &Path, arguments: &[&str]) -> (bool, String) {
        let output = Command::new("openssl").current_dir(directory).args(arguments).output().expect("openssl is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }

    #[test]
    fn openssl_accepts_an_issued_certificate_for_its_own_names_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = CertificateAuthority::create("0a1b2c3d", NOW).expect("an authority");
        let server = authority.issue(&names(), NOW).expect("issued");
        std::fs::write(directory.path().join("ca.pem"), authority.certificate()).expect("written");
        std::fs::write(directory.path().join("server.pem"), &server.certificate).expect("written");
        std::fs::write(directory.path().join("server.key"), server.key.expose_secret()).expect("written");
        let at = (NOW.0 / 1_000_000 + 60).to_string();
        let verify = |flag: &str, name: &str| {
            let arguments = ["verify", "-x509_strict", "-purpose", "sslserver", "-attime", &at, "-CAfile", "ca.pem", flag, name];
            openssl(directory.path(), &[arguments.as_slice(), &["server.pem"]].concat())
        };
        for (flag, name) in [("-verify_ip", "127.64.0.10"), ("-verify_hostname", "db.example.org")] {
            let (accepted, text) = verify(flag, name);
            assert!(accepted, "{flag} {name}: {text}");
        }
        for (flag, name) in [("-verify_ip", "127.64.0.11"), ("-verify_hostname", "other.example.org")] {
            assert!(!verify(flag, name).0, "{flag} {name} must be refused");
        }
        let (_, shown) = openssl(directory.path(), &["x509", "-in", "server.pem", "-noout", "-text"]);
        for part in ["IP Address:127.64.0.10", "DNS:db.example.org", "TLS Web Server Authentication", "prime256v1", "CA:FALSE"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        let (_, shown) = openssl(directory.path(), &["x509", "-in", "ca.pem", "-noout", "-text"]);
        assert!(shown.contains("CN = Moorage installation 0a1b2c3d authority") && shown.contains("CA:TRUE, pathlen:0"), "{shown}");
        let (whole, _) = openssl(directory.path(), &["pkey", "-in", "server.key", "-check", "-noout"]);
        assert!(whole, "openssl reads the key");
    }

    #[test]
    fn a_reloaded_authority_goes_on_signing_under_the_same_certificate() {
        let directory = tempfile::tempdir().expect("a directory");
        let master_key = MasterKey::generate().expect("a key");
        let authority = CertificateAuthority::create("0a1b2c3d", NOW).expect("an authority");
        let sealed = authority.sealed_key(&master_key).expect("sealed");
        assert!(!sealed.contains("PRIVATE"));
        let reloaded = CertificateAuthority::load(authority.certificate(), &sealed, &master_key).expect("loaded");
        let server = reloaded.issue(&names(), NOW).expect("issued");
        std::fs::write(directory.path().join("ca.pem"), authority.certificate()).expect("written");
        std::fs::write(directory.path().join("server.pem"), &server.certificate).expect("written");
        let at = (NOW.0 / 1_000_000).to_string();
        let (accepted, text) = openssl(directory.path(), &["verify", "-attime", &at, "-CAfile", "ca.pem", "server.pem"]);
        assert!(accepted, "{text}");
    }

    #[test]
    fn an_authority_does_not_load_with_another_master_key_or_another_certificate() {
        let master_key = MasterKey::generate().expect("a key");
        let one = CertificateAuthority::create("00000001", NOW).expect("an authority");
        let two = CertificateAuthority::create("00000002", NOW).expect("an authority");
        let sealed = one.sealed_key(&master_key).expect("sealed");
        let stranger = MasterKey::generate().expect("a key");
        assert!(matches!(CertificateAuthority::load(one.certificate(), &sealed, &stranger), Err(AuthorityError::Open(_))));
        assert!(matches!(CertificateAuthority::load(two.certificate(), &sealed, &master_key), Err(AuthorityError::Mismatch)));
        assert!(matches!(CertificateAuthority::load("nonsense", &sealed, &master_key), Err(AuthorityError::Unreadable(_))));
    }

    #[test]
    fn certificates_end_when_they_should() {
        let authority = CertificateAuthority::create("0a1b2c3d", NOW).expect("an authority");
        assert_eq!(expiry(authority.certificate()).expect("read"), NOW.plus(AUTHORITY_LIFETIME));
        let server = authority.issue(&names(), NOW).expect("issued");
        assert_eq!(server.expires_at, NOW.plus(SERVER_LIFETIME));
        assert!(expiry("").is_err() && expiry("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
    }

    #[test]
    fn names_that_no_certificate_can_carry_are_refused() {
        let authority = CertificateAuthority::create("0a1b2c3d", NOW).expect("an authority");
        assert!(matches!(authority.issue(&[], NOW), Err(AuthorityError::NoName)));
        for bad in ["", "with space", "ümlaut.example", "a\nb"] {
            assert!(matches!(authority.issue(&[ServerName::Dns(bad.into())], NOW), Err(AuthorityError::Name(_))), "{bad:?}");
        }
        let long = format!("{0}.{0}.example.org", "a".repeat(60));
        assert!(authority.issue(&[ServerName::Dns(long)], NOW).is_ok());
    }

    #[test]
    fn keys_do_not_show_in_debug_output() {
        let authority = CertificateAuthority::create("0a1b2c3d", NOW).expect("an authority");
        let server = authority.issue(&names(), NOW).expect("issued");
        assert!(!format!("{authority:?} {server:?}").contains("PRIVATE"));
    }
}
