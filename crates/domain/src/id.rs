//! Identifiers: 32 lower-case hexadecimal digits (a UUID without dashes), unique across all nouns.

use serde::{Deserialize, Serialize};

/// A text that is not an identifier.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an identifier: an identifier is 32 lower-case hexadecimal digits")]
pub struct NotAnId;

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Reads an identifier; anything but 32 lower-case hexadecimal digits is refused.
            pub fn parse(text: &str) -> Result<Self, NotAnId> {
                if is_id(text) { Ok(Self(text.to_owned())) } else { Err(NotAnId) }
            }
            /// The identifier whose 128 bits are given.
            pub fn from_bits(bits: u128) -> Self {
                Self(format!("{bits:032x}"))
            }
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = NotAnId;
            fn try_from(text: String) -> Result<Self, NotAnId> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// A project: the tenant everything belongs to.
    ProjectId,
    /// A person or program that signs in.
    UserId,
    /// A token, by which it is listed and ended; it proves nothing.
    TokenId,
    /// An entry of the record of changes that were asked for.
    ActionId,
    /// A machine (or namespace) that runs instances.
    HostId,
    /// A cluster.
    ClusterId,
    /// An instance group of a cluster.
    GroupId,
    /// A volume entry of an instance group.
    VolumeId,
    /// One database server of a cluster.
    InstanceId,
    /// A durable operation.
    OperationId,
    /// A sealed secret that a row refers to.
    SecretId,
    /// A database in a cluster.
    DatabaseId,
    /// A credential of a database.
    CredentialId,
    /// A plan that databases are asked for by.
    PlanId,
    /// A place where databases are made.
    EnvironmentId,
    /// People who share databases.
    TeamId,
    /// What databases are for.
    ApplicationId,
}

/// The same digits with another first one, which is 0 in every identifier that begins with the time.
fn beside(id: &str, first: char) -> String {
    let rest = id.get(1..).unwrap_or_default();
    format!("{first}{rest}")
}

impl DatabaseId {
    /// The identifier of the database that a cluster was made with.
    pub fn first_of(cluster: &ClusterId) -> Self {
        Self(beside(cluster.as_str(), 'd'))
    }
}

impl CredentialId {
    /// The identifier of the credential that a cluster was made with: its owner's.
    pub fn first_of(cluster: &ClusterId) -> Self {
        Self(beside(cluster.as_str(), 'c'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_thirty_two_lower_case_hexadecimal_digits_are_an_identifier() {
        assert!(ClusterId::parse("109a585ae67b4e8482fdafc8a4a5be74").is_ok());
        for bad in ["", "109a", "109A585AE67B4E8482FDAFC8A4A5BE74", "../../../../../../etc/passwd123456"] {
            assert_eq!(ClusterId::parse(bad), Err(NotAnId), "{bad}");
        }
        assert!(serde_json::from_str::<ClusterId>("\"../x\"").is_err());
    }

    #[test]
    fn what_a_cluster_is_made_with_has_identifiers_of_its_own_that_follow_from_the_clusters() {
        let cluster = ClusterId::from_bits(0x019a_585a_e67b_4e84_82fd_afc8_a4a5_be74);
        assert_eq!(DatabaseId::first_of(&cluster).as_str(), "d19a585ae67b4e8482fdafc8a4a5be74");
        assert_eq!(CredentialId::first_of(&cluster).as_str(), "c19a585ae67b4e8482fdafc8a4a5be74");
        assert!(DatabaseId::parse(DatabaseId::first_of(&cluster).as_str()).is_ok());
    }
}
