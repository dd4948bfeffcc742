//! Server types: the sizes a user can choose, in the vendor's naming (`db1v<vcpu>m<GiB>`).

use serde::{Deserialize, Serialize};

/// A size for an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerType {
    /// `db1v1m2`.
    pub name: String,
    /// Virtual processors.
    pub cpu: u32,
    /// Memory in GiB.
    pub memory_gib: u32,
}

impl ServerType {
    /// The catalogue: 1 to 16 virtual processors with 2, 4 or 8 GiB each, and one smaller type for trials.
    pub fn catalogue() -> Vec<ServerType> {
        let mut types = vec![Self::sized(1, 1)];
        for cpu in [1, 2, 4, 8, 16] {
            for per_cpu in [2, 4, 8] {
                types.push(Self::sized(cpu, cpu * per_cpu));
            }
        }
        types
    }
    /// The type of that name, if the catalogue has it.
    pub fn find(name: &str) -> Option<ServerType> {
        Self::catalogue().into_iter().find(|server_type| server_type.name == name)
    }
    fn sized(cpu: u32, memory_gib: u32) -> Self {
        Self { name: format!("db1v{cpu}m{memory_gib}"), cpu, memory_gib }
    }
    /// Memory in bytes.
    pub fn memory_bytes(&self) -> u64 {
        u64::from(self.memory_gib) << 30
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_its_name() {
        for server_type in ServerType::catalogue() {
            assert_eq!(ServerType::find(&server_type.name), Some(server_type));
        }
        assert_eq!(ServerType::find("db1v3m7"), None);
    }
}
