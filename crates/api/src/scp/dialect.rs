//! Which service and version a request speaks: path prefix over `Scp-Api-Version` over the newest version (decisions 20).

use moorage_domain::engine::EngineName;
use moorage_domain::{Problem, ProblemCode};

/// A version of a service's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ApiVersion {
    /// 1.0
    V1_0,
    /// 1.1
    V1_1,
}

impl ApiVersion {
    /// The newest one.
    pub(crate) const NEWEST: Self = Self::V1_1;
    fn parse(text: &str) -> Option<Self> {
        match text {
            "1.0" => Some(Self::V1_0),
            "1.1" => Some(Self::V1_1),
            _ => None,
        }
    }
}

/// Service and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// The service, which is an engine.
    pub(crate) engine: EngineName,
    /// The version.
    pub(crate) version: ApiVersion,
    /// Whether the caller named the version. A caller who did not gets the newest, and is not held to keys it added.
    pub(crate) stated: bool,
}

impl Dialect {
    /// Chooses by the prefix of the path and the `Scp-Api-Version` header.
    pub(crate) fn choose(prefix: Option<EngineName>, header: Option<&str>) -> Result<Self, Problem> {
        let Some(header) = header.map(str::trim).filter(|header| !header.is_empty()) else {
            return Ok(Self { engine: prefix.unwrap_or(EngineName::MariaDb), version: ApiVersion::NEWEST, stated: false });
        };
        let mut words = header.split_ascii_whitespace();
        let service = words.next().unwrap_or_default().to_ascii_lowercase();
        let number = words.next();
        let engine = match prefix.or_else(|| EngineName::parse(&service)) {
            Some(engine) if words.next().is_none() => engine,
            _ => return Err(unsupported(header)),
        };
        let version = match number {
            None => ApiVersion::NEWEST,
            Some(number) => ApiVersion::parse(number).ok_or_else(|| unsupported(header))?,
        };
        Ok(Self { engine, version, stated: number.is_some() })
    }
    /// `product_image_type` of the service.
    pub(crate) fn image_type(self) -> &'static str {
        match self.engine {
            EngineName::MariaDb => "MariaDB Community",
            EngineName::PostgreSql => "PostgreSQL Community",
        }
    }
    /// `product_type` of the service.
    pub(crate) fn product_type(self) -> &'static str {
        match self.engine {
            EngineName::MariaDb => "MariaDB",
            EngineName::PostgreSql => "PostgreSQL Community",
        }
    }
    /// `dbaas_engine` of the service.
    pub(crate) fn engine_label(self) -> &'static str {
        match self.engine {
            EngineName::MariaDb => "MariaDB",
            EngineName::PostgreSql => "PostgreSQL",
        }
    }
    /// Whether `service_watch_log_collection` is part of the API.
    pub(crate) fn has_watch_log_collection(self) -> bool {
        self.engine == EngineName::MariaDb && self.version >= ApiVersion::V1_1
    }
}

fn unsupported(header: &str) -> Problem {
    let shown: String = header.chars().take(60).collect();
    Problem::new(ProblemCode::InvalidRequest, format!("'{shown}' is not a supported service and version."))
        .hint("Supported are mariadb 1.0, mariadb 1.1, postgresql 1.0 and postgresql 1.1.")
        .field("Scp-Api-Version")
}

#[cfg(test)]
mod tests {
    use super::*;
    use EngineName::{MariaDb, PostgreSql};

    fn chosen(prefix: Option<EngineName>, header: Option<&str>) -> Option<(EngineName, ApiVersion)> {
        Dialect::choose(prefix, header).ok().map(|dialect| (dialect.engine, dialect.version))
    }

    #[test]
    fn the_prefix_goes_over_the_header_and_the_header_over_the_newest_version() {
        assert_eq!(chosen(None, None), Some((MariaDb, ApiVersion::V1_1)));
        assert_eq!(chosen(None, Some("mariadb 1.0")), Some((MariaDb, ApiVersion::V1_0)));
        assert_eq!(chosen(None, Some("postgresql 1.1")), Some((PostgreSql, ApiVersion::V1_1)));
        assert_eq!(chosen(Some(PostgreSql), None), Some((PostgreSql, ApiVersion::V1_1)));
        assert_eq!(chosen(Some(PostgreSql), Some("mariadb 1.0")), Some((PostgreSql, ApiVersion::V1_0)));
    }

    #[test]
    fn what_is_not_supported_is_refused_and_what_is_gets_named() {
        for bad in ["mariadb 1.2", "mysql 1.1", "1.1", "mariadb1.1", "mariadb 1.1 x", "mariadb v1.1"] {
            let problem = Dialect::choose(None, Some(bad)).expect_err(bad);
            assert!(problem.hint.expect("a hint").contains("postgresql 1.1"), "{bad}");
        }
        assert!(Dialect::choose(Some(MariaDb), Some("mariadb 9.9")).is_err());
    }
}
